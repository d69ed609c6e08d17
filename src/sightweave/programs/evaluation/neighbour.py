"""Text-only nearest neighbour: answers a question like the most similar training question, without any image.

What such a lookup gets right, a model may also get right without looking: see Making the V in VQA Matter (Goyal et al.
2017, arXiv:1612.00837) on language priors, and Exploring Nearest Neighbor Approaches for Image Captioning (Devlin et
al. 2015, arXiv:1505.04467) on lookups. Similarity is the cosine of TF-IDF vectors over words and pairs of words.

Only a bounded number of distinct prompts is kept, however large the training data is: those with the lowest hashes,
which are a uniform sample of all prompts (bottom-k sampling, Cohen and Kaplan 2007, "Summarizing Data Using Bottom-k
Sketches"). A prompt that is kept at the end was kept from its first occurrence, so all of its answers are counted.
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
"""Largest difference between cosines that count as equal."""
MOST_PROMPTS = 50_000
"""Maximum number of distinct prompts to keep per task."""
_ROOM, _LEAST_ROOM = 1000, 8
"""Maximum number of distinct answers to keep per prompt, and the number to which that maximum may shrink."""
_MOST_ANSWERS = 500_000
"""Number of distinct answers over all prompts of a task above which fewer are kept per prompt."""
_HASHES = 1 << 64
"""Number of possible hashes."""


class Neighbour:
    """Answers each prompt like the most similar training prompt of the same task.

    Args:
        train: Training samples; those without references are ignored. `add` adds more.
        most_prompts: Maximum number of distinct prompts to keep per task.
        seed: Random seed for choosing prompts if there are more.
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
        """Adds one training sample."""
        if not sample.references:
            return
        known = self._prompts.get(sample.task)
        if known is None:
            known = self._prompts[sample.task] = _Prompts(self.most_prompts, self.seed)
        known.add((sample.prompt, sample.tags.get("type", "")), sample.references[0])
        self._indices.pop(sample.task, None)

    def answers(self, samples: Sequence[Sample]) -> list[str | None]:
        """The answer of the nearest training prompt to each sample; None for tasks that are not in the training data.

        Among equally near prompts, those of the sample's own type (tag ``type``) are preferred. The answer is the most
        frequent first reference of these prompts; ties go to the alphabetically first.
        """
        known: dict[tuple[str, str, str], str | None] = {}
        found = []
        for sample in samples:
            kind = sample.tags.get("type", "")
            key = (sample.task, sample.prompt, kind)
            if key not in known:
                index = self._index(sample.task)
                known[key] = None if index is None else index.answer(sample.prompt, kind)
            found.append(known[key])
        return found

    def _index(self, task: str) -> _Index | None:
        """The search index of a task, built on first use; None if the task is not in the training data."""
        if task in self._prompts and task not in self._indices:
            self._indices[task] = _Index(self._prompts[task].answers)
        return self._indices.get(task)

    def to_plain(self) -> dict[str, Any]:
        """The learned values as plain JSON data."""
        return {task: prompts.to_plain() for task, prompts in self._prompts.items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Neighbour:
        """Restores a neighbour from the result of `to_plain`; it behaves like the original."""
        found = cls()
        found._prompts = {task: _Prompts.from_plain(one) for task, one in plain.items()}
        return found

    def notes(self) -> Iterator[str]:
        """Yields a sentence for each task of which not all prompts were kept."""
        for task, prompts in sorted(self._prompts.items()):
            if prompts.is_sample:
                yield (
                    f"{task}: the text-only baseline searches {len(prompts.answers):,} of about "
                    f"{prompts.about():,} different training prompts, sampled from all of them."
                )


_Key = tuple[str, str]
"""A prompt and its type."""


class _Prompts:
    """Distinct prompts of one task with their answers; if there are too many, those with the lowest hashes."""

    def __init__(self, most: int, seed: int) -> None:
        self.most, self.seed = most, seed
        self.is_sample = False
        self.answers: dict[_Key, Frequent] = {}
        self._salt = seed.to_bytes(16, "little", signed=True)
        self._highest: list[tuple[int, _Key]] = []
        """Heap of the kept prompts by negated hash, so that the prompt with the highest hash is first."""
        self._room, self._count = _ROOM, 0

    def to_plain(self) -> dict[str, Any]:
        """The prompts as plain JSON data."""
        return {
            "most": self.most,
            "seed": self.seed,
            "is_sample": self.is_sample,
            "room": self._room,
            "answers": [[*key, votes.to_plain()] for key, votes in self.answers.items()],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> _Prompts:
        """Restores prompts from the result of `to_plain`."""
        found = cls(plain["most"], plain["seed"])
        found.is_sample, found._room = plain["is_sample"], plain["room"]
        for prompt, kind, votes in plain["answers"]:
            key = (prompt, kind)
            found.answers[key] = Frequent.of(*votes)
            found._highest.append((-found._hash(key), key))
        heapq.heapify(found._highest)
        found._count = found._count_answers()
        return found

    def add(self, key: _Key, answer: str) -> None:
        """Counts one answer to a prompt."""
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
            self._count = self._count_answers()

    def _count_answers(self) -> int:
        """The number of distinct answers, summed over all prompts."""
        return sum(len(votes.counts) for votes in self.answers.values())

    def _new(self, key: _Key) -> Frequent | None:
        """The counts of a new prompt; None if its hash is too high for it to be kept, now or later."""
        hashed = -self._hash(key)
        if len(self.answers) == self.most:
            self.is_sample = True
            if hashed < self._highest[0][0]:
                return None
            _, gone = heapq.heapreplace(self._highest, (hashed, key))
            self._count -= len(self.answers.pop(gone).counts)
        else:
            heapq.heappush(self._highest, (hashed, key))

        votes = self.answers[key] = Frequent(self._room)
        return votes

    def _hash(self, key: _Key) -> int:
        data = "\0".join(key).encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8, salt=self._salt).digest(), "little")

    def about(self) -> int:
        """The number of distinct prompts seen, to two digits, estimated from the range of hashes that is kept."""
        number = (len(self.answers) - 1) * _HASHES // max(1, -self._highest[0][0])
        scale: int = 10 ** max(0, len(str(number)) - 2)
        return round(number / scale) * scale


class _Index:
    """Search index over the words of one task's training prompts."""

    def __init__(self, answers: dict[_Key, Frequent]) -> None:
        self._types = [kind for _, kind in answers]
        self._answers = [votes.counts for votes in answers.values()]
        self._same: dict[int, list[int]] = {}
        """Prompts with exactly the same terms, by a hash of the terms; no other prompt can be as near."""
        self._term: dict[str, int] = {}
        """Number of each term."""

        # Do not store terms but compute them again for each search, since they would take up most of the memory.
        terms, counts, row = array("i"), array("i"), array("i")
        for place, (prompt, _) in enumerate(answers):
            words = Counter(_terms(prompt))
            self._same.setdefault(_mark(words), []).append(place)
            terms.extend([self._term.setdefault(term, len(self._term)) for term in words])
            counts.extend(words.values())
            row.extend([place] * len(words))

        # Give a term that occurs in every prompt a small weight too, so that no vector has length 0.
        number = np.bincount(terms, minlength=len(self._term))
        self._weight = np.log(len(answers) / number) + 1
        values = np.array(counts) * self._weight[terms]
        values /= np.sqrt(np.bincount(row, weights=values**2))[row]

        # Build an inverted index: the prompts of each term are contiguous, and `_ends` has the end of each term's
        # range.
        order = np.argsort(terms, kind="stable")
        self._ends = number.cumsum()
        self._rows, self._values = np.array(row)[order], values[order]

    def answer(self, prompt: str, kind: str) -> str:
        """The most frequent answer of the nearest prompts."""
        words = Counter(_terms(prompt))
        near = self._same.get(_mark(words)) or self._nearest(words)
        own = [n for n in near if self._types[n] == kind]

        votes: Counter[str] = Counter()
        for n in own or near:
            votes.update(self._answers[n])
        return min(votes, key=lambda answer: (-votes[answer], answer))

    def _nearest(self, words: Counter[str]) -> list[int]:
        """The numbers of the prompts with the highest cosine."""
        known = [(self._term[term], count) for term, count in words.items() if term in self._term]
        size = float(np.sqrt(sum((count * self._weight[n]) ** 2 for n, count in known)))

        likeness = np.zeros(len(self._answers))
        for n, count in known:
            stretch = slice(self._ends[n - 1] if n else 0, self._ends[n])
            weight = count * self._weight[n] / size
            likeness[self._rows[stretch]] += self._values[stretch] * weight

        nearest: list[int] = np.flatnonzero(likeness >= likeness.max() - _SAME).tolist()
        return nearest


def _mark(words: Counter[str]) -> int:
    """A hash of the terms of a prompt, independent of their order."""
    return hash(frozenset(words.items()))


def _terms(prompt: str) -> list[str]:
    """Words and pairs of adjacent words; a text without any word is a single term."""
    words = _WORD.findall(prompt.casefold()) or [prompt.strip()]
    return words + [f"{first} {second}" for first, second in pairwise(words)]
