"""Relaxed accuracy: a number may differ from its reference by 5 %; any other answer must equal the reference.

ChartQA (Masry et al. 2022, arXiv:2203.10244), section 5.1; after PlotQA (Methani et al. 2020, arXiv:1909.00997).
Differs from the paper, as all its scorers do: ``5%`` is 0.05, and a reference of 0 is compared as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from sightweave.answers.scoring import ratios
from sightweave.core.config import config
from sightweave.core.types import Sample


@config
class Config:
    """Options of relaxed accuracy."""

    tolerance: Annotated[float, Field(ge=0)] = 0.05
    """Largest accepted difference, as a fraction of the reference; the paper uses 0.05."""

    def build(self) -> RelaxedAccuracy:
        """Builds the metric."""
        return RelaxedAccuracy(tolerance=self.tolerance)


class RelaxedAccuracy:
    """The share of answers that are within a tolerance of a reference, or equal to one without regard to case.

    Args:
        tolerance: Largest accepted difference, as a fraction of the reference.

    Raises:
        ValueError: `tolerance` is negative.
    """

    is_proportion = True

    def __init__(self, *, tolerance: float = 0.05) -> None:
        if not tolerance >= 0:
            raise ValueError(f"relaxed_accuracy: tolerance must be 0 or more (got {tolerance}).")
        self.tolerance = tolerance

    def is_right(self, answer: str, reference: str) -> bool:
        """Whether one answer matches one reference."""
        given, wanted = number(answer), number(reference)
        if given is None or not wanted:  # no relative difference from 0 exists
            return answer.lower() == reference.lower()

        return abs(given - wanted) / abs(wanted) <= self.tolerance

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 2: (1 if any reference matches else 0, 1). A missing answer (None) is wrong.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has no reference.
        """
        ratios.check("relaxed_accuracy", predictions, samples)

        right = []
        for answer, sample in zip(predictions, samples, strict=True):
            matches = answer is not None and any(self.is_right(answer, one) for one in sample.references)
            right.append(matches)

        return ratios.with_ones(right)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right answers (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)


def number(text: str) -> float | None:
    """The value of a text that Python parses as a number, divided by 100 if it ends in ``%``; None for other text.

    A number with thousands separators counts as text, as in the published scorers.
    """
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
