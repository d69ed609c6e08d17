"""What every metric gives: numbers per row that can be added, and one number from their sums.

Sums can be resampled thousands of times in a moment, which corpus scores need for their intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from sightweave.core.types import Sample


class Metric(Protocol):
    """Predictions and samples in, sufficient statistics out."""

    is_proportion: bool
    """Whether a row is (1 or 0, 1), so that the total is a share of right answers and has a Wilson interval."""

    # A metric may also have ``less_is_better = True``; ``best``, the score of a perfect answer where that is not 1; and
    # ``signature(samples) -> str``, which says what variant was computed.

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R K: what each answer adds; None is an answer that could not be parsed."""
        ...

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (0 to 1) of sums ``... K``: shape ``...``; NaN where the sums are of no rows."""
        ...
