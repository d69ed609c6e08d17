"""Exact match: an answer is right if it equals one of the references.

The usual score for closed questions, as in SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250), section 6.1.

Differs from the paper in that articles and punctuation within an answer are compared. White space, Unicode form and
case are folded, and final punctuation and quotes around the whole answer are ignored: ``Red.`` equals ``red``. They are
removed from both sides, so an answer that equals a reference character by character is always right, such as ``9 a.m.``
or ``...``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


@config
class Config:
    """Options of the comparison."""

    ignore_case: bool = True
    """Whether to ignore case (``Red`` equals ``red``)."""

    def build(self) -> ExactMatch:
        """Builds the metric."""
        return ExactMatch(ignore_case=self.ignore_case)


class ExactMatch:
    """The share of answers that equal one of their references.

    Args:
        ignore_case: Whether to ignore case.
    """

    is_proportion = True

    def __init__(self, *, ignore_case: bool = True) -> None:
        self.ignore_case = ignore_case

    def fold(self, text: str) -> str:
        """Normalises a text for comparison: NFC, single spaces, none at the ends, case-folded if case is ignored."""
        return ratios.fold(text, ignore_case=self.ignore_case)

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 2: (1 if right else 0, 1). An answer that could not be parsed (None) is wrong.

        Raises:
            DataError: there is not exactly one prediction per sample.
        """
        if len(predictions) != len(samples):
            raise DataError(
                f"exact_match: {len(predictions)} prediction(s) for {len(samples)} sample(s); give one for each, in order."
            )

        right = []
        for answer, sample in zip(predictions, samples, strict=True):
            right.append(ratios.is_same(answer, sample.references, ignore_case=self.ignore_case))

        return ratios.with_ones(right)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right answers (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)
