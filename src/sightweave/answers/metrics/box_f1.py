"""Box F1: how well the boxes of an answer's text regions match those of the reference.

Two boxes match if their intersection over union is at least 0.5, the usual threshold since the PASCAL VOC challenge
(Everingham et al. 2010, doi:10.1007/s11263-009-0275-4); each box matches at most one other. Texts and angles are not
compared, and boxes are compared before they are turned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import ratios, region_matching
from sightweave.core.config import config
from sightweave.core.errors import RecipeError
from sightweave.core.types import Sample


@config
class Config:
    """Options of box F1."""

    threshold: float = 0.5
    """Minimum intersection over union of matching boxes, above 0 and at most 1."""

    def build(self) -> BoxF1:
        """Builds the metric."""
        return BoxF1(threshold=self.threshold)


class BoxF1:
    """Harmonic mean of precision and recall of boxes over all answers, 0 to 1.

    Args:
        threshold: Minimum intersection over union of matching boxes.

    Raises:
        RecipeError: `threshold` is not above 0 and at most 1.
    """

    is_proportion = False

    def __init__(self, *, threshold: float = 0.5) -> None:
        if not 0 < threshold <= 1:
            raise RecipeError(f"box_f1: threshold must be above 0 and at most 1 (got {threshold}).")
        self.threshold = threshold

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 3: matching boxes, boxes of the answer, and boxes of the reference.

        The row of a sample whose reference has no boxes is 0. An answer that could not be parsed (None) has no boxes.

        Raises:
            DataError: there is not exactly one prediction per sample, a sample has no reference, or no reference has
                boxes.
        """
        ratios.check("box_f1", predictions, samples)

        rows = []
        references = region_matching.reference_regions("box_f1", samples)
        for answer, reference in zip(predictions, references, strict=True):
            if not reference:
                rows.append((0, 0, 0))
                continue
            found = region_matching.answer_regions(answer)
            pairs = region_matching.matched(found, reference, self.threshold)
            rows.append((len(pairs), len(found), len(reference)))
        return np.array(rows, dtype=np.float64).reshape(len(rows), 3)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """F1 (shape ``...``) from summed rows (shape ``... 3``); NaN where there are no boxes."""
        sums = np.asarray(sums, dtype=np.float64)
        return ratios.ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])
