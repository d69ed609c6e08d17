"""VQA accuracy as the challenge's server and most later tools compute it: answers are always normalised first.

VQA: Visual Question Answering (Agrawal et al. 2015, arXiv:1505.00468), section 4; answers are normalised as in
facebookresearch/mmf (EvalAIAnswerProcessor). Used for VQA v2, TextVQA, OK-VQA and VizWiz.
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

    def build(self) -> VqaEvalai:
        """Builds the metric."""
        return VqaEvalai()


class VqaEvalai:
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
            return vqa_steps.vote(fold(answer), [fold(reference) for reference in references])

        return vqa_steps.rows("vqa_evalai", predictions, samples, score)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean score (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)


def normalise(text: str) -> str:
    """Normalises an answer for comparison: unlike the other scorers, it removes commas and question marks first."""
    words = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return vqa_steps.plain_words(vqa_steps.without_punctuation(vqa_steps.one_line(words)))
