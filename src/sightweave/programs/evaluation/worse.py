"""Degrades images in ways that hardly affect a person: a model's score on them shows how brittle the model is.

Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (Hendrycks and Dietterich 2019,
arXiv:1903.12261). All changes are deterministic.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

from sightweave.core.types import Medium
from sightweave.data.inputs.image_files import load

Pixels = UInt8[np.ndarray, "Hp Wp 3"]
_QUALITY = 30
_BLUR = 0.01
"""Radius of the blur as a share of the shorter side; the radius is at least one pixel."""
_KEPT = 0.9
"""Share of each side that a centre crop keeps."""
_BRIGHTER = 1.3
_DARKER = 0.7
_DEGREES = 10.0


def jpeg_30(pixels: Pixels) -> Pixels:
    """Compresses the image as JPEG of quality 30."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=_QUALITY)
    return load(Medium(stream.getvalue(), "jpeg_30"))


def blurred(pixels: Pixels) -> Pixels:
    """Blurs the image by a Gaussian whose radius is 1 % of the shorter side, at least one pixel."""
    radius = max(1.0, _BLUR * min(pixels.shape[:2]))
    return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def cropped(pixels: Pixels) -> UInt8[np.ndarray, "h w 3"]:
    """Crops the image to the middle nine tenths of each side."""
    height, width = pixels.shape[:2]
    down, across = max(1, round(height * _KEPT)), max(1, round(width * _KEPT))
    top, left = (height - down) // 2, (width - across) // 2
    return np.ascontiguousarray(pixels[top : top + down, left : left + across])


def brighter(pixels: Pixels) -> Pixels:
    """Multiplies every value by 1.3, clipped at white."""
    return np.minimum(np.rint(pixels * _BRIGHTER), 255).astype(np.uint8)


def darker(pixels: Pixels) -> Pixels:
    """Multiplies every value by 0.7."""
    return np.rint(pixels * _DARKER).astype(np.uint8)


def rotated(pixels: Pixels) -> Pixels:
    """Rotates the image counterclockwise by ten degrees; the corners get the mean colour."""
    mean = tuple(int(value) for value in pixels.reshape(-1, 3).mean(0))
    turned = Image.fromarray(pixels).rotate(_DEGREES, Image.Resampling.BICUBIC, fillcolor=mean)
    return np.array(turned)


WORSE: Mapping[str, Callable[[Pixels], Pixels]] = {
    "jpeg_30": jpeg_30,
    "blurred": blurred,
    "cropped": cropped,
    "brighter": brighter,
    "darker": darker,
    "rotated": rotated,
}
"""Functions that degrade an image, by the name that users write."""
