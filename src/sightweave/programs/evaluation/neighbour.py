"""Text-only nearest neighbour: a question is answered as the most similar question of training was; no picture is seen.

What such a lookup gets right, a model may get right without looking too: Making the V in VQA Matter (Goyal et al. 2017,
arXiv:1612.00837) for priors of language, Exploring Nearest Neighbor Approaches for Image Captioning (Devlin et al. 2015,
arXiv:1505.04467) for lookups. Similar means the cosine of TF-IDF vectors over words and pairs of words.

Of training data of any size it keeps a bounded number of different prompts: those with the lowest hashes, a uniform
sample of them all (bottom-k sampling, Cohen and Kaplan 2007, "Summarizing Data Using Bottom-k Sketches"). A prompt that
is in it at the end was in it from its first occurrence on, so its answers are counted from the first to the last.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sightweave.core.types import Sample
from sightweave.programs.evaluation.frequent import Frequent

_WORD = re.compile(r"\w+", re.UNICODE)
_SAME = 1e-9
"""Cosines that differ by no more are equal."""
MOST_PROMPTS = 50_000
"""Different prompts of a task that are kept."""
_ROOM, _LEAST_ROOM = 1000, 8
"""Different answers that are kept of one prompt, and that are kept of each where all have many."""
_MOST_ANSWERS = 500_000
"""Different answers of all prompts of a task, from which on fewer are kept of each."""
_HASHES = 1 << 64


class Neighbour:
    """Looks prompts up among those of training, task by task.

    Args:
        train: Samples with references; those without any teach nothing. `add` takes more.
        most_prompts: Different prompts of a task that are kept at most.
        seed: Decides which, where there are more.
    """

    def __init__(
        self, train: Iterable[Sample] = (), *, most_prompts: int = MOST_PROMPTS, seed: int = 0
    ) -> None:
        self.most_prompts, self.seed = most_prompts, seed
        self._prompts: dict[str, _Prompts] = {}
        self._indices: dict[str, _Index] = {}
        for sample in train:
            self.add(sample)

    def add(self, sample: Sample) -> None:
        """Learns one more sample."""
        if not sample.references:
            return
        known = self._prompts.get(sample.task)
        if known is None:
            known = self._prompts[sample.task] = _Prompts(self.most_prompts, self.seed)
        known.add((sample.prompt, sample.tags.get("type", "")), sample.references[0])
        self._indices.pop(sample.task, None)

    def answers(self, samples: Sequence[Sample]) -> list[str | None]:
        """The first reference of the nearest training prompt; None where training has no sample of that task.

        Of equally near prompts those of the sample's own type (tag ``type``) go first; then the answer decides that
        is commonest among them, then the alphabet.
        """
        known: dict[tuple[str, str, str], str | None] = {}
        found = []
        for sample in samples:
            key = (sample.task, sample.prompt, sample.tags.get("type", ""))
            if key not in known:
                index = self._index(sample.task)
                known[key] = None if index is None else index.answer(sample.prompt, key[2])
            found.append(known[key])
        return found

    def _index(self, task: str) -> _Index | None:
        if task in self._prompts and task not in self._indices:
            self._indices[task] = _Index(self._prompts[task].answers)
        return self._indices.get(task)

    def to_plain(self) -> dict[str, Any]:
        """What was learnt, ready for JSON."""
        return {task: prompts.to_plain() for task, prompts in self._prompts.items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Neighbour:
        """The neighbour whose `to_plain` that is; it answers the same, and learns more samples alike."""
        made = cls()
        made._prompts = {task: _Prompts.from_plain(one) for task, one in plain.items()}
        return made

    def notes(self) -> Iterator[str]:
        """A sentence on each task of which not all prompts were kept."""
        for task, prompts in sorted(self._prompts.items()):
            if prompts.is_sample:
                yield (
                    f"{task}: the text-only baseline searches {len(prompts.answers):,} of about "
                    f"{prompts.about():,} different "
                    "training prompts, sampled from all of them."
                )


_Key = tuple[str, str]
"""A prompt and its type."""


class _Prompts:
    """Different prompts of one task, each with its answers; those with the lowest hashes where there are many."""

    def __init__(self, most: int, seed: int) -> None:
        self.most, self.seed = most, seed
        self.is_sample = False
        self.answers: dict[_Key, Frequent] = {}
        self._salt = seed.to_bytes(16, "little", signed=True)
        self._highest: list[tuple[int, _Key]] = []
        """A heap of the negated hashes of all that are kept."""
        self._room, self._count = _ROOM, 0

    def to_plain(self) -> dict[str, Any]:
        return {
            "most": self.most,
            "seed": self.seed,
            "is_sample": self.is_sample,
            "room": self._room,
            "answers": [[*key, votes.to_plain()] for key, votes in self.answers.items()],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> _Prompts:
        made = cls(plain["most"], plain["seed"])
        made.is_sample, made._room = plain["is_sample"], plain["room"]
        made.answers = {(prompt, kind): Frequent.of(*votes) for prompt, kind, votes in plain["answers"]}
        made._highest = [(-made._hash(key), key) for key in made.answers]
        heapq.heapify(made._highest)
        made._count = sum(len(votes.counts) for votes in made.answers.values())
        return made

    def add(self, key: _Key, answer: str) -> None:
        votes = self.answers.get(key) or self._new(key)
        if votes is None:
            return
        before = len(votes.counts)
        votes.add(answer)
        self._count += len(votes.counts) - before
        if self._count > _MOST_ANSWERS and self._room > _LEAST_ROOM:
            self._room = max(_LEAST_ROOM, self._room // 2)
            for each in self.answers.values():
                each.shrink(self._room)
            self._count = sum(len(each.counts) for each in self.answers.values())

    def _new(self, key: _Key) -> Frequent | None:
        """A place for a prompt that is not there; None where its hash is too high, now and for good."""
        hashed = -self._hash(key)
        if len(self.answers) == self.most:
            self.is_sample = True
            if hashed < self._highest[0][0]:
                return None
            _, gone = heapq.heapreplace(self._highest, (hashed, key))
            self._count -= len(self.answers.pop(gone).counts)
        else:
            heapq.heappush(self._highest, (hashed, key))
        made = self.answers[key] = Frequent(self._room)
        return made

    def _hash(self, key: _Key) -> int:
        data = "\0".join(key).encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8, salt=self._salt).digest(), "little")

    def about(self) -> int:
        """How many different prompts there were in all, to two digits: from how small a part of all hashes is kept."""
        number = (len(self.answers) - 1) * _HASHES // max(1, -self._highest[0][0])
        scale: int = 10 ** max(0, len(str(number)) - 2)
        return round(number / scale) * scale


class _Index:
    """Training prompts of one task by the words in them; equal prompts are one, with all of their answers."""

    def __init__(self, answers: dict[_Key, Frequent]) -> None:
        self._types = [kind for _, kind in answers]
        self._answers = [votes.counts for votes in answers.values()]
        # Terms are made twice rather than kept, since those of all prompts take more memory than all else here.
        self._same: dict[int, list[int]] = {}
        """Prompts of the very same terms: no other one can be as near."""
        self._term: dict[str, int] = {}
        """A number for each term."""
        terms, counts, row = array("i"), array("i"), array("i")
        for place, (prompt, _) in enumerate(answers):
            words = Counter(_terms(prompt))
            self._same.setdefault(_mark(words), []).append(place)
            terms.extend([self._term.setdefault(term, len(self._term)) for term in words])
            counts.extend(words.values())
            row.extend([place] * len(words))

        # A term that every prompt has still counts a little, so that no prompt is nothing.
        number = np.bincount(terms, minlength=len(self._term))
        self._weight = np.log(len(answers) / number) + 1
        values = np.array(counts) * self._weight[terms]
        values /= np.sqrt(np.bincount(row, weights=values**2))[row]

        # The prompts of each term, one term after the other: a term's stretch ends where the next one's begins.
        order = np.argsort(terms, kind="stable")
        self._ends = number.cumsum()
        self._rows, self._values = np.array(row)[order], values[order]

    def answer(self, prompt: str, kind: str) -> str:
        """The answer of the nearest prompt."""
        words = Counter(_terms(prompt))
        near = self._same.get(_mark(words)) or self._nearest(words)
        own = [n for n in near if self._types[n] == kind]
        votes: Counter[str] = Counter()
        for n in own or near:
            votes.update(self._answers[n])
        return min(votes, key=lambda answer: (-votes[answer], answer))

    def _nearest(self, words: Counter[str]) -> list[int]:
        """The prompts with the highest cosine."""
        likeness = np.zeros(len(self._answers))
        known = [(self._term[term], count) for term, count in words.items() if term in self._term]
        size = float(np.sqrt(sum((count * self._weight[n]) ** 2 for n, count in known)))
        for n, count in known:
            stretch = slice(self._ends[n - 1] if n else 0, self._ends[n])
            weight = count * self._weight[n] / size
            likeness[self._rows[stretch]] += self._values[stretch] * weight
        nearest: list[int] = np.flatnonzero(likeness >= likeness.max() - _SAME).tolist()
        return nearest


def _mark(words: Counter[str]) -> int:
    """A number for the terms of a prompt, whatever their order."""
    return hash(frozenset(words.items()))


def _terms(prompt: str) -> list[str]:
    """Words and pairs of neighbouring words; a text without any word is its own term."""
    words = _WORD.findall(prompt.casefold()) or [prompt.strip()]
    return [*words, *(f"{first} {second}" for first, second in pairwise(words))]
