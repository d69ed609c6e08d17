"""Background PSNR: how well a drawn image keeps the source image outside the boxes of its texts.

The peak signal-to-noise ratio in decibels over all pixels outside the reference's boxes: 10 log10(255^2 / MSE), with the
mean squared error over all images. It is cut at 100 dB, the score of images that are equal there. A box is widened by one
pixel, because pixels at its edge may belong to both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightweave.answers.scoring import pictures as drawn
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion
from sightweave.core.types import Sample

_PEAK = 255.0
_CUT = 100.0
_EDGE = 1.0


@config
class Config:
    """Background PSNR has no options."""

    def build(self) -> BackgroundPsnr:
        """Builds the metric."""
        return BackgroundPsnr()


class BackgroundPsnr:
    """Peak signal-to-noise ratio outside the boxes in decibels, at most 100."""

    is_proportion = False
    of_pictures = True
    best = _CUT
    unit = "dB"

    def rows(self, predictions: Sequence[Any], samples: Sequence[Sample]) -> np.ndarray:
        """A row per image, float64 R 2: sum of squared errors outside the boxes, and number of values there.

        A missing image (None) is black.

        Raises:
            DataError: there is not exactly one image per sample, one is no image or has another size than the source
                image, or a reference is not the plain-text form of regions.
        """
        images = drawn.check("background_psnr", predictions, samples)

        rows = []
        for pixels, sample in zip(images, samples, strict=True):
            source = drawn.source_pixels("background_psnr", sample)
            image = np.zeros_like(source) if pixels is None else pixels
            if image.shape != source.shape:
                raise DataError(
                    f"background_psnr: the image for {sample.id!r} has {image.shape[1]} x {image.shape[0]} pixels, but "
                    f"its source has {source.shape[1]} x {source.shape[0]}; draw it in the same size."
                )

            outside = ~inside_boxes(drawn.signs_of("background_psnr", sample), source.shape[:2])
            errors = image[outside].astype(np.float64) - source[outside]
            rows.append(((errors**2).sum(), errors.size))
        return np.array(rows, dtype=np.float64).reshape(len(rows), 2)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The ratio in dB (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no pixels."""
        sums = np.asarray(sums, dtype=np.float64)
        least = _PEAK**2 / 10 ** (_CUT / 10)
        mse = sums[..., 0] / np.maximum(sums[..., 1], 1)
        decibels = 10 * np.log10(_PEAK**2 / np.maximum(mse, least))
        return np.where(sums[..., 1] > 0, decibels, np.nan)


def inside_boxes(signs: Sequence[TextRegion], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which pixels of an image are in a sign's box, bool ``H x W``.

    Args:
        signs: The signs.
        size: Height and width of the image in pixels.
    """
    height, width = size
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.zeros((height, width), bool)
    for sign in signs:
        left, top, right, bottom = sign.box
        across, down = x - (left + right) / 2 * width, y - (top + bottom) / 2 * height
        angle = np.radians(-sign.angle)  # clockwise
        turned_across = across * np.cos(angle) + down * np.sin(angle)
        turned_down = down * np.cos(angle) - across * np.sin(angle)
        is_across = np.abs(turned_across) <= (right - left) / 2 * width + _EDGE
        inside |= is_across & (np.abs(turned_down) <= (bottom - top) / 2 * height + _EDGE)
    return inside
