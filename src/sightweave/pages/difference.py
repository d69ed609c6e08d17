"""Shows where the image of an answer differs from the source image, inside and outside the places that may change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_INSIDE, _OUTSIDE = (42, 93, 143), (190, 50, 30)
"""Colours of pixels that changed in the boxes, and elsewhere; they differ in lightness too."""
_PALE = 0.22
"""Contrast that is left of the source image."""
_LEAST, _FULL = 0.35, 96
"""Opacity of the smallest change, and the change (0 to 255) from which on a pixel is opaque."""


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """The difference between an image and its source."""

    pixels: np.ndarray
    """The source image, pale, with the changed pixels in colour, uint8 H W 3."""
    inside: float
    """Share of the pixels inside the boxes that changed; NaN if there are none."""
    outside: float
    """Share of the pixels outside the boxes that changed; NaN if there are none."""


def difference(source: np.ndarray, picture: np.ndarray, is_inside: np.ndarray) -> Difference | None:
    """Compares an image with its source; None if they have different sizes.

    Args:
        source: uint8 H W 3.
        picture: uint8 H W 3.
        is_inside: Pixels that may change, bool H W.
    """
    if source.shape != picture.shape:
        return None
    change = np.abs(picture.astype(np.int16) - source).max(-1)  # H W
    is_changed = change > 0

    gray = source.mean(-1, keepdims=True)  # H W 1
    pale = 255 - _PALE * (255 - gray)
    opacity = np.where(is_changed, np.clip(change / _FULL, _LEAST, 1), 0)[..., None]
    colors = np.where(is_inside[..., None], _INSIDE, _OUTSIDE)
    pixels = (1 - opacity) * pale + opacity * colors
    return Difference(
        pixels.round().astype(np.uint8), _share(is_changed, is_inside), _share(is_changed, ~is_inside)
    )


def _share(is_changed: np.ndarray, is_counted: np.ndarray) -> float:
    return float(is_changed[is_counted].mean()) if is_counted.any() else float("nan")
