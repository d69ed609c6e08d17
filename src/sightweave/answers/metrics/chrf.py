"""Corpus chrF2++ as sacreBLEU computes it: F-score of character 1- to 6-grams and word 1- and 2-grams.

chrF++: words helping character n-grams (Popovic 2017, doi:10.18653/v1/W17-4770), in the library's version without
epsilon smoothing: orders for which the answers or references are too short are left out. The counts are the library's
own. Differs from the library in its scale, which is 0 to 1 instead of 0 to 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightweave.answers.scoring import sacre
from sightweave.core.config import config
from sightweave.core.errors import RecipeError
from sightweave.core.types import Sample

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF


@config
class Config:
    """Options of chrF."""

    word_order: int = 2
    """Longest word n-gram: 2 is chrF++, 0 is chrF (for languages without spaces)."""
    char_order: int = 6
    """Longest character n-gram; white space is not counted."""
    beta: int = 2
    """Weight of recall relative to precision."""
    lowercase: bool = False
    """Whether to ignore case; published scores are case-sensitive."""

    def build(self) -> Chrf:
        """Builds the metric."""
        return Chrf(
            word_order=self.word_order, char_order=self.char_order, beta=self.beta, lowercase=self.lowercase
        )


class Chrf:
    """F_beta (0 to 1) of n-gram precision and recall, each averaged over the orders that occur on both sides.

    With P and R as these averages, the score is (1 + beta^2) P R / (beta^2 P + R). If there are several references, a
    row uses the one with the best score.

    Args:
        word_order: Longest word n-gram, 0 for none.
        char_order: Longest character n-gram.
        beta: Weight of recall relative to precision.
        lowercase: Whether to ignore case.

    Raises:
        RecipeError: `word_order` is below 0, or `char_order` or `beta` is below 1.
    """

    is_proportion = False

    def __init__(
        self, *, word_order: int = 2, char_order: int = 6, beta: int = 2, lowercase: bool = False
    ) -> None:
        if word_order < 0 or char_order < 1 or beta < 1:
            raise RecipeError(
                "chrf: word_order must be 0 or more, char_order and beta 1 or more "
                f"(got {word_order}, {char_order} and {beta})."
            )

        self.word_order = word_order
        self.char_order = char_order
        self.beta = beta
        self.lowercase = lowercase

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R K with K = 3 (char_order + word_order) + 1.

        The columns are, for each order, the number of n-grams of the answer, of the reference and common to both; the
        last is
        1. An answer that could not be parsed (None) is an empty translation.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has no reference.
        """
        sacre.check("chrf", predictions, samples)
        return sacre.segment_rows(self._scorer(), predictions, samples)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (0 to 1, shape ``...``) from summed rows (shape ``... K``); NaN for sums over no rows."""
        sums = np.asarray(sums, dtype=np.float64)
        orders = sums[..., :-1].reshape(*sums.shape[:-1], -1, 3)
        answers, references, common = orders[..., 0], orders[..., 1], orders[..., 2]

        num_orders = np.maximum(((answers > 0) & (references > 0)).sum(-1), 1)
        precision = (common / np.maximum(answers, 1)).sum(-1) / num_orders
        recall = (common / np.maximum(references, 1)).sum(-1) / num_orders

        weight = self.beta**2
        denominator = weight * precision + recall
        score = (1 + weight) * precision * recall / np.where(denominator > 0, denominator, 1)
        return np.where(sums[..., -1] > 0, score, np.nan)

    def signature(self, samples: Sequence[Sample]) -> str:
        """SacreBLEU's signature of the score on these samples."""
        return sacre.signature(self._scorer(), samples)

    def _scorer(self) -> CHRF:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF(
            char_order=self.char_order,
            word_order=self.word_order,
            beta=self.beta,
            lowercase=self.lowercase,
        )
