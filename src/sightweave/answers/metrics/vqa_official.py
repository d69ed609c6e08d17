"""VQA accuracy as its authors' own scorer computes it: an answer that three other annotators gave is fully right.

VQA: Visual Question Answering (Agrawal et al. 2015, arXiv:1505.00468), section 4; scorer: GT-Vision-Lab/VQA.
Its quirks are kept: answers are normalised only if the annotators differ, so ``Yes`` against ten ``yes`` scores 0.
Differs from the scorer in that annotators are distinguished by position, so ten equal answers need no ``answer_id``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sightweave.answers.scoring import ratios, vqa_steps
from sightweave.core.config import config
from sightweave.core.types import Sample


@config
class Config:
    """This metric has no options."""

    def build(self) -> VqaOfficial:
        """Builds the metric."""
        return VqaOfficial()


class VqaOfficial:
    """The mean, over questions and left-out annotators, of min(1, other annotators with this answer / 3)."""

    is_proportion = False

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 2: (score from 0 to 1, 1). An answer that could not be parsed (None) scores 0.

        References are the answers of all annotators, repeated as given.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has fewer than four references.
        """
        # Cache the normalised answers: few of the ten answers to a question are distinct.
        fold = lru_cache(maxsize=100_000)(normalise)

        def score(answer: str, references: Sequence[str]) -> float:
            line = vqa_steps.one_line(answer)
            people = list(map(vqa_steps.one_line, references))
            if len(set(people)) == 1:
                return vqa_steps.vote(line, people)

            return vqa_steps.vote(fold(line), list(map(fold, people)))

        return vqa_steps.rows("vqa_official", predictions, samples, score)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean score (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)


def normalise(text: str) -> str:
    """Normalises answers for questions on which annotators differ; only 0 to 9 are digits, as in Python 2."""
    return vqa_steps.plain_words(vqa_steps.without_punctuation(text, digits="[0-9]"))
