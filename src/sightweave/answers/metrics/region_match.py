"""Region match: whether all texts of an answer with text regions are right, wherever their boxes are.

The texts are compared in their order, with folded white space and line breaks; case counts. An answer without regions is
compared line by line, so that the metric also scores reading without places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import ratios, region_matching
from sightweave.core.config import config
from sightweave.core.types import Sample


@config
class Config:
    """Region match has no options."""

    def build(self) -> RegionMatch:
        """Builds the metric."""
        return RegionMatch()


class RegionMatch:
    """The share of answers whose texts all equal those of their reference, in the same order."""

    is_proportion = True

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 2: (1 if right else 0, 1). An answer that could not be parsed (None) is wrong.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has no reference.
        """
        ratios.check("region_match", predictions, samples)

        right = []
        for answer, sample in zip(predictions, samples, strict=True):
            texts = region_matching.texts_of(answer)
            right.append(bool(texts) and texts in map(region_matching.texts_of, sample.references))
        return ratios.with_ones(right)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right answers (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)
