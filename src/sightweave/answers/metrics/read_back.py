"""Read-back match: whether all signs of a drawn image, read from its pixels, say what the reference says.

The words are read by the template reader of our own bitmap face (``answers/scoring/sign_reader.py``) in the boxes of the
reference, never by the model itself. Images with letters of another face need another reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightweave.answers.scoring import pictures as drawn
from sightweave.answers.scoring import ratios
from sightweave.core.config import config
from sightweave.core.types import Sample


@config
class Config:
    """Read-back match has no options."""

    def build(self) -> ReadBack:
        """Builds the metric."""
        return ReadBack()


class ReadBack:
    """The share of drawn images whose signs all have the text of the reference."""

    is_proportion = True
    of_pictures = True

    def rows(self, predictions: Sequence[Any], samples: Sequence[Sample]) -> np.ndarray:
        """A row per image, float64 R 2: (1 if all signs are right else 0, 1). A missing image (None) is wrong.

        Raises:
            DataError: there is not exactly one image per sample, one is no image, or a reference is not the plain-text
                form of regions.
        """
        images = drawn.check("read_back", predictions, samples)

        right = []
        for pixels, sample in zip(images, samples, strict=True):
            signs = drawn.signs_of("read_back", sample)
            expected = [ratios.fold(sign.text, ignore_case=False) for sign in signs]
            found = [ratios.fold(text, ignore_case=False) for text in drawn.read_back(pixels, signs)]
            right.append(found == expected)
        return ratios.with_ones(right)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right images (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)
