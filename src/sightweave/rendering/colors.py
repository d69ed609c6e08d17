"""Estimates the colours of the letters and of the ground in a box from its pixels."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, UInt8

from sightweave.core.text_regions import Color

_ROUNDS = 5
_MOST_PIXELS = 2048
"""Approximate maximum of pixels for the estimate; larger boxes are sampled on a grid."""
MIN_CONTRAST = 48.0
"""Minimum Euclidean distance in RGB between ink and ground; an estimated ink that is closer is replaced."""


def dominant(pixels: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]) -> tuple[Color | None, Color]:
    """The colours of ink and ground in a box, which are its two dominant colours; the ground is the one along the edge.

    Args:
        pixels: The box, in RGB.
        mask: The pixels of the box that count.

    Returns:
        The ink, or None if the box has only one colour; and the ground.
    """
    step = math.ceil(math.sqrt(mask.size / _MOST_PIXELS))
    if step > 1 and mask[::step, ::step].any():
        pixels, mask = pixels[::step, ::step], mask[::step, ::step]
    colors = pixels[mask].astype(np.float32)
    edge = pixels[mask & ~eroded(mask)].astype(np.float32)
    ground = np.median(edge, axis=0)
    ink = colors[np.argmax(((colors - ground) ** 2).sum(1))]

    # Two-means, starting at the colour of the edge and the colour that differs most from it.
    is_ink = np.zeros(len(colors), bool)
    for _ in range(_ROUNDS):
        is_ink = ((colors - ink) ** 2).sum(1) < ((colors - ground) ** 2).sum(1)
        if not is_ink.any() or is_ink.all():
            break
        ink, ground = colors[is_ink].mean(0), colors[~is_ink].mean(0)
    if np.linalg.norm(ink - ground) < MIN_CONTRAST or not is_ink.any():
        return None, _color(np.median(colors, axis=0))

    # The mean of the ink includes the blurred edges of the letters, so take the pixels that differ most from the ground.
    distances = ((colors[is_ink] - ground) ** 2).sum(1)
    pure = colors[is_ink][distances >= np.quantile(distances, 0.6)]
    return _color(np.median(pure, axis=0)), _color(np.median(colors[~is_ink], axis=0))


def readable(ink: Color | None, ground: Color) -> Color:
    """The ink, or black or white if there is none or if it can hardly be seen on the ground."""
    if ink is not None and np.linalg.norm(np.subtract(ink, ground)) >= MIN_CONTRAST:
        return ink
    red, green, blue = ground
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 127 else (255, 255, 255)


def eroded(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The mask without the pixels at its edge."""
    padded = np.pad(mask, 1)
    inner: Bool[np.ndarray, "H W"] = padded[:-2, 1:-1] & padded[2:, 1:-1]
    inner &= padded[1:-1, :-2] & padded[1:-1, 2:] & mask
    return inner


def dilated(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The mask and the pixels next to it."""
    padded = np.pad(mask, 1)
    grown: Bool[np.ndarray, "H W"] = padded[:-2, 1:-1] | padded[2:, 1:-1]
    grown |= padded[1:-1, :-2] | padded[1:-1, 2:] | mask
    return grown


def _color(values: np.ndarray) -> Color:
    red, green, blue = (round(float(value)) for value in values)
    return red, green, blue
