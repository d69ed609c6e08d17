"""Exact match: an answer is right if it equals one of the references.

The usual score of closed questions, as in SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250), section 6.1.
Differs from the paper: articles and punctuation within an answer count. White space, Unicode form and case are folded,
and a full stop or another ending and quotes around the whole count for nothing: ``Red.`` is ``red``. They are taken off
both sides, and an answer that is a reference letter by letter is always right, be it ``9 a.m.`` or ``...``.
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
        """The metric."""
        return ExactMatch(ignore_case=self.ignore_case)


class ExactMatch:
    """The share of answers that equal one of their references.

    Args:
        ignore_case: Whether letters are compared without case.
    """

    is_proportion = True

    def __init__(self, *, ignore_case: bool = True) -> None:
        self.ignore_case = ignore_case

    def fold(self, text: str) -> str:
        """The form in which texts are compared: NFC, single spaces, none at the ends, no case if it is ignored."""
        return ratios.fold(text, ignore_case=self.ignore_case)

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 2: (1 if right else 0, 1). An answer that could not be parsed (None) is wrong.

        Raises:
            DataError: not one prediction per sample.
        """
        if len(predictions) != len(samples):
            raise DataError(
                f"exact_match: {len(predictions)} prediction(s) for {len(samples)} sample(s); give one for each, in order."
            )
        right = [
            ratios.is_same(answer, sample.references, ignore_case=self.ignore_case)
            for answer, sample in zip(predictions, samples, strict=True)
        ]
        return np.stack([np.array(right, dtype=np.float64), np.ones(len(right))], axis=1)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share that is right, from sums ``... 2``: shape ``...``; NaN where there are no rows."""
        sums = np.asarray(sums, dtype=np.float64)
        share = np.full(sums.shape[:-1], np.nan)
        np.divide(sums[..., 0], sums[..., 1], out=share, where=sums[..., 1] > 0)
        return share
