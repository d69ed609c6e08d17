"""Text-only nearest neighbour: a question is answered as the most similar question of training was; no picture is seen.

What such a lookup gets right, a model may get right without looking too: Making the V in VQA Matter (Goyal et al. 2017,
arXiv:1612.00837) for priors of language, Exploring Nearest Neighbor Approaches for Image Captioning (Devlin et al. 2015,
arXiv:1505.04467) for lookups. Similar means the cosine of TF-IDF vectors over words and pairs of words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from sightweave.core.types import Sample

_WORD = re.compile(r"\w+", re.UNICODE)
_SAME = 1e-9
"""Cosines that differ by no more are equal."""


class Neighbour:
    """Looks prompts up among those of training, task by task.

    Args:
        train: Samples with references; those without any teach nothing.
    """

    def __init__(self, train: Sequence[Sample]) -> None:
        by_task: dict[str, list[Sample]] = {}
        for sample in train:
            if sample.references:
                by_task.setdefault(sample.task, []).append(sample)
        self._indices = {task: _Index(samples) for task, samples in by_task.items()}

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
                index = self._indices.get(sample.task)
                known[key] = None if index is None else index.answer(sample.prompt, key[2])
            found.append(known[key])
        return found


class _Index:
    """Training prompts of one task by the words in them; equal prompts are one, with all of their answers."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        answers: dict[tuple[str, str], Counter[str]] = {}
        for sample in samples:
            key = (sample.prompt, sample.tags.get("type", ""))
            answers.setdefault(key, Counter())[sample.references[0]] += 1
        self._types = [kind for _, kind in answers]
        self._answers = list(answers.values())
        words = [Counter(_terms(prompt)) for prompt, _ in answers]
        number = Counter(term for one in words for term in one)
        # A term that every prompt has still counts a little, so that no prompt is nothing.
        self._weight = {term: float(np.log(len(words) / count) + 1) for term, count in number.items()}
        places: dict[str, list[tuple[int, float]]] = {}
        for place, one in enumerate(words):
            size = self._size(one)
            for term, count in one.items():
                places.setdefault(term, []).append((place, count * self._weight[term] / size))
        self._rows = {term: np.array([n for n, _ in each]) for term, each in places.items()}
        self._values = {term: np.array([v for _, v in each]) for term, each in places.items()}

    def _size(self, words: Counter[str]) -> float:
        return float(np.sqrt(sum((n * self._weight.get(term, 0.0)) ** 2 for term, n in words.items()))) or 1.0

    def answer(self, prompt: str, kind: str) -> str:
        """The answer of the nearest prompt."""
        likeness = np.zeros(len(self._answers))
        words = Counter(_terms(prompt))
        size = self._size(words)
        for term, count in words.items():
            if term in self._rows:
                likeness[self._rows[term]] += self._values[term] * (count * self._weight[term] / size)
        near = np.flatnonzero(likeness >= likeness.max() - _SAME)
        own = [n for n in near if self._types[n] == kind]
        votes: Counter[str] = Counter()
        for n in own or near:
            votes.update(self._answers[n])
        return min(votes, key=lambda answer: (-votes[answer], answer))


def _terms(prompt: str) -> list[str]:
    """Words and pairs of neighbouring words; a text without any word is its own term."""
    words = _WORD.findall(prompt.casefold()) or [prompt.strip()]
    return [*words, *(f"{first} {second}" for first, second in pairwise(words))]
