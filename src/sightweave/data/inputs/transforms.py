"""Turns pixels into a square tensor: resizes with antialiasing, normalises and, in training, augments."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from sightweave.core.config import config

_MAX_SIDE = 8192
"""Maximum side; a larger square would take gigabytes."""
_Deviation = Annotated[float, Field(gt=0)]
Box = tuple[float, float, float, float]
Fit = Literal["pad", "crop", "squash"]
Augment = Literal["none", "shift", "photo"]
Margin = Literal["down", "nearest"]
Resample = Literal["bicubic", "bilinear", "lanczos"]
_PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}
_SIDES = re.compile(
    r"\b(left|right|links|rechts|(linke|rechte)[mnrs]?\b|gauche|droite?s?\b|izquierd|derech|sinistr|destr[aio]\b"
    r"|esquerd|direit)|[\u5de6\u53f3]",
    re.IGNORECASE,
)
"""Words for left and right, in the order of the languages listed in `names_side`."""
_LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
"""Luma weights of red, green and blue (ITU-R BT.601)."""


@config
class Config:
    """How images become tensors of one size."""

    size: Annotated[int, Field(ge=1, le=_MAX_SIDE)]
    """Side of the square output, in pixels."""
    fit: Fit = "pad"
    """``pad`` keeps the whole image and its aspect, ``crop`` the centre square, ``squash`` the whole image distorted."""
    resize_to: Annotated[int, Field(ge=0, le=_MAX_SIDE)] = 0
    """With ``crop``: pixels of the shorter side before the crop, such as 256 for a crop of 224; 0 means `size`. With
    ``squash`` and `exact`: pixels of the longer side in a first resizing, as in Idefics3; 0 skips it."""
    resample: Resample = "bicubic"
    """Resampling filter; ``lanczos`` requires `exact`."""
    exact: bool = False
    """Whether to resample the whole image with Pillow and decode JPEGs at full scale: the same pixels as Transformers'
    image processors, for encoders trained on them. Slower."""
    margin: Margin = "down"
    """How an exact crop rounds a margin of half a pixel: ``down`` as in Transformers' image processors, or to the
    ``nearest`` even number as in torchvision and timm."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Mean of each channel, 0 to 1; also the padding colour."""
    std: tuple[_Deviation, _Deviation, _Deviation] = (0.5, 0.5, 0.5)
    """Standard deviation of each channel, 0 to 1."""
    augment: Augment = "none"
    """``shift`` moves and scales slightly; ``photo`` also crops, stretches and changes the lighting. Training only."""
    flip: bool = False
    """Whether to mirror half of the training images, except those whose texts mention left or right (see `names_side`)."""
    gray: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of the training images converted to grey, so that shapes are not learnt from colours."""

    def build(self) -> ImageTransform:
        """Builds the transform."""
        return ImageTransform(
            size=self.size,
            fit=self.fit,
            resize_to=self.resize_to,
            resample=self.resample,
            exact=self.exact,
            margin=self.margin,
            mean=self.mean,
            std=self.std,
            augment=self.augment,
            flip=self.flip,
            gray=self.gray,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Resized:
    """An image after resizing and before normalisation: what a cache stores."""

    values: Tensor
    """uint8 3 h w, with h and w at most the side of the square; the rest of the square is padding."""
    left: int
    """First column in the square."""
    top: int
    """First row in the square."""
    width: int
    """Width of the original image, in pixels."""
    height: int
    """Height of the original image, in pixels."""


@dataclass(frozen=True, slots=True)
class _View:
    """Which pixels of the image go where in the square; both boxes are left, top, right, bottom in whole pixels."""

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]
    """May extend beyond the square; the excess is cut off after resizing."""
    is_mirrored: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    is_gray: bool = False

    @property
    def is_relit(self) -> bool:
        """Whether brightness or contrast change anything."""
        return self.brightness != 1 or self.contrast != 1


class ImageTransform:
    """Turns images into tensors of one size, and maps boxes of an image to the tensor.

    Args:
        size: Side of the square output, in pixels.
        fit: ``pad``, ``crop`` or ``squash``.
        resize_to: With ``crop``, pixels of the shorter side before the crop; 0 means `size`. With ``squash``, pixels of the
            longer side in a first resizing; 0 skips it.
        resample: ``bicubic``, ``bilinear`` or, with `exact`, ``lanczos``.
        exact: Whether to resize the whole image with Pillow before the crop; the caller must then decode at full scale.
        margin: How an exact crop rounds half a pixel: ``down``, or to the ``nearest`` even number as in torchvision.
        mean: Mean of each channel, 0 to 1.
        std: Standard deviation of each channel, 0 to 1.
        augment: ``none``, ``shift`` or ``photo``; only applied with a seed.
        flip: Whether to mirror half of the images; only applied with a seed.
        gray: Fraction of the images converted to grey; only applied with a seed. Random grayscale of SimCLR
            (Chen et al. 2020, arXiv:2002.05709), appendix A.

    Raises:
        ValueError: A size or a std that is not positive, a `resize_to` with ``pad`` or, with ``crop``, under `size`, a
            `gray` outside 0 to 1, ``lanczos`` without `exact`, or an unknown `fit`, `margin`, `resample` or `augment`.
    """

    def __init__(  # one argument for each setting
        self,
        *,
        size: int,
        fit: Fit = "pad",
        resize_to: int = 0,
        resample: Resample = "bicubic",
        exact: bool = False,
        margin: Margin = "down",
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        std: tuple[float, float, float] = (0.5, 0.5, 0.5),
        augment: Augment = "none",
        flip: bool = False,
        gray: float = 0.0,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1 pixel (got {size}).")
        if min(std) <= 0:
            raise ValueError(f"std must be more than 0 for each channel (got {std}).")
        if fit not in ("pad", "crop", "squash"):
            raise ValueError(f"fit must be pad, crop or squash (got {fit!r}).")
        if margin not in ("down", "nearest"):
            raise ValueError(f"margin must be down or nearest (got {margin!r}).")
        if augment not in ("none", "shift", "photo"):
            raise ValueError(f"augment must be none, shift or photo (got {augment!r}).")
        if not 0 <= gray <= 1:
            raise ValueError(f"gray must be from 0 to 1 (got {gray}).")
        _check_resizing(size, fit, resize_to, resample, exact)

        self.size, self.fit, self.augment, self.flip, self.gray = size, fit, augment, flip, gray
        self.resize_to = resize_to or (0 if fit == "squash" else size)
        self.resample, self.exact, self.margin = resample, exact, margin
        self.mean, self.std = tuple(mean), tuple(std)

        self._scale = torch.tensor([1 / (255 * value) for value in std])[:, None, None]
        self._shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)])[:, None, None]
        self._mean = torch.tensor(mean)[:, None, None]
        self._std = torch.tensor(std)[:, None, None]

    def __call__(
        self, pixels: np.ndarray, seed: int | None = None, *, may_flip: bool = True, is_tile: bool = False
    ) -> Tensor:
        """Transforms one image.

        Args:
            pixels: uint8 H W 3.
            seed: Seed of the augmentation; the same seed always gives the same result. None turns augmentation off.
            may_flip: Whether the seed may mirror the image; the rest of the augmentation does not depend on it.
            is_tile: Whether this is a tile of a larger image. A tile fills the square whatever its aspect, and a seed
                changes only its lighting and colours, so that it still fits its neighbours.

        Returns:
            float32 3 size size, (value / 255 - mean) / std; 0 on padding.
        """
        view = self._view(pixels.shape[1], pixels.shape[0], seed, may_flip=may_flip, is_tile=is_tile)
        return self._finish(self._resize(pixels, view), view)

    def resize(self, pixels: np.ndarray, *, is_tile: bool = False) -> Resized:
        """The first half of a call without a seed: ``finish(resize(pixels))`` is bit-identical to ``self(pixels)``.

        Args:
            pixels: uint8 H W 3.
            is_tile: As in `__call__`.
        """
        return self._resize(pixels, self._view(pixels.shape[1], pixels.shape[0], None, is_tile=is_tile))

    def finish(self, resized: Resized) -> Tensor:
        """The second half of a call: float32 3 size size, normalised and padded."""
        return self._finish(resized, None)

    def _resize(self, pixels: np.ndarray, view: _View) -> Resized:
        size = self.size
        left, top, right, bottom = view.source
        part = np.require(pixels[top:bottom, left:right], requirements=("C", "W"))

        left, top, right, bottom = view.target
        values = self._resampled(part, right - left, bottom - top)
        values = values[:, max(0, -top) : size - top, max(0, -left) : size - left]
        return Resized(values, max(0, left), max(0, top), pixels.shape[1], pixels.shape[0])

    def _resampled(self, pixels: np.ndarray, width: int, height: int) -> Tensor:
        """Resizes uint8 H W 3 to uint8 3 height width."""
        first = self.resize_to if self.fit == "squash" else 0
        is_same = pixels.shape[:2] == (height, width) and not first
        if self.exact and not is_same:
            image = Image.fromarray(pixels)
            if first:
                image = image.resize(_longer_side(*image.size, first), _PILLOW[self.resample])
            small = image.resize((width, height), _PILLOW[self.resample])
            return torch.from_numpy(np.array(small)).permute(2, 0, 1)

        values = torch.from_numpy(pixels).permute(2, 0, 1)
        if is_same:
            return values
        resized = functional.interpolate(
            values[None], size=(height, width), mode=self.resample, antialias=True
        )
        return resized[0]

    def _finish(self, resized: Resized, view: _View | None) -> Tensor:
        size, left, top = self.size, resized.left, resized.top
        drawn = resized.values.to(torch.float32)

        # Change the lighting and the colours.
        if view is not None and view.is_relit:
            middle = drawn.mean()
            drawn = (((drawn - middle) * view.contrast + middle) * view.brightness).clamp(0, 255)
        if view is not None and view.is_gray:
            drawn = (drawn * _LUMA).sum(0, keepdim=True).repeat(3, 1, 1)

        # Normalise in place: the tensor is our own copy, and memory traffic is most of the cost. The exact form rounds
        # where Transformers rounds; the other form needs one pass less.
        if self.exact:
            drawn.div_(255).sub_(self._mean).div_(self._std)
        else:
            drawn.mul_(self._scale).sub_(self._shift)

        # Pad to the square, then mirror.
        if drawn.shape[1:] != (size, size):
            square = torch.zeros(3, size, size)
            square[:, top : top + drawn.shape[1], left : left + drawn.shape[2]] = drawn
            drawn = square
        return (drawn.flip(2) if view is not None and view.is_mirrored else drawn).contiguous()

    def place(
        self, box: Box, width: int, height: int, seed: int | None = None, *, may_flip: bool = True
    ) -> Box:
        """Maps a box of the image to the square.

        Args:
            box: Left, top, right, bottom as fractions of the image.
            width: Width of the image, in pixels.
            height: Height of the image, in pixels.
            seed: The seed that the image was transformed with.
            may_flip: The `may_flip` that the image was transformed with.

        Returns:
            The box as fractions of the square, clipped at its edges; its area is 0 if none of it is visible.
        """
        view = self._view(width, height, seed, may_flip=may_flip)
        left, right = self._along(box[0] * width, view, 0), self._along(box[2] * width, view, 0)
        top, bottom = self._along(box[1] * height, view, 1), self._along(box[3] * height, view, 1)
        return (1 - right, top, 1 - left, bottom) if view.is_mirrored else (left, top, right, bottom)

    def _along(self, value: float, view: _View, axis: int) -> float:
        """Maps a coordinate in pixels of the image to a fraction of the square, along x (0) or y (1)."""
        start, stop = view.source[axis], view.source[axis + 2]
        first, last = view.target[axis], view.target[axis + 2]
        placed = first + (value - start) * (last - first) / (stop - start)
        return min(max(placed, 0.0), self.size) / self.size

    def _view(
        self, width: int, height: int, seed: int | None, *, may_flip: bool = True, is_tile: bool = False
    ) -> _View:
        """The view of an image: along each axis its pixel x goes to ``scale * x + offset`` of the square."""
        scales, offsets = self._fitted(width, height, is_tile)
        mirrored, brightness, contrast, gray = False, 1.0, 1.0, False

        # The order of the draws is fixed: a seed must always give the same variation.
        if seed is not None:
            draw = random.Random(seed).uniform
            mirrored = draw(0, 1) < 0.5 and self.flip and may_flip and not is_tile
            if self.augment != "none":
                # Drawn for a tile too, so that the later draws are the same for every kind of image.
                moved = self._moved(draw, scales, offsets)
                if not is_tile:
                    scales, offsets = moved
            if self.augment == "photo":
                brightness, contrast = draw(0.8, 1.2), draw(0.8, 1.2)
            gray = draw(0, 1) < self.gray

        x0, x1, left, right = self._visible(width, scales[0], offsets[0])
        y0, y1, top, bottom = self._visible(height, scales[1], offsets[1])
        return _View((x0, y0, x1, y1), (left, top, right, bottom), mirrored, brightness, contrast, gray)

    def _moved(
        self, draw: Callable[[float, float], float], scales: list[float], offsets: list[float]
    ) -> tuple[list[float], list[float]]:
        """Draws a zoom, a stretch and a shift, and applies them to scale and offset along x and y."""
        is_photo = self.augment == "photo"
        zoom = draw(1.0, 1.35) if is_photo else draw(0.9, 1.1)
        stretch = draw(0.9, 1.1) if is_photo else 1.0
        reach = (zoom - 1) / 2 if is_photo else 0.06
        zooms = (zoom * stretch, zoom / stretch)

        middle = self.size / 2
        moved_scales, moved_offsets = [], []
        for scale, offset, factor in zip(scales, offsets, zooms, strict=True):
            shift = draw(-reach, reach) * self.size
            moved_scales.append(scale * factor)
            moved_offsets.append(middle + (offset - middle) * factor + shift)
        return moved_scales, moved_offsets

    def _fitted(self, width: int, height: int, is_tile: bool) -> tuple[list[float], list[float]]:
        """Scale and offset along x and y without any augmentation."""
        sides, size = (width, height), self.size
        short = min(sides)
        if self.fit == "squash" or is_tile:
            return [size / side for side in sides], [0.0, 0.0]

        if self.fit == "pad":
            drawn = [max(1, round(side * size / max(sides))) for side in sides]
        elif self.exact:
            # The longer side is rounded down, as in Transformers and torchvision.
            drawn = [self.resize_to if side == short else self.resize_to * side // short for side in sides]
        else:
            # Crop at whole pixels of the image, so that only the square is resampled.
            scale, seen = self.resize_to / short, max(1, round(short * size / self.resize_to))
            return [scale, scale], [-((side - seen) // 2) * scale for side in sides]

        scales = [d / side for d, side in zip(drawn, sides, strict=True)]
        return scales, [float((size - d) // 2 if d <= size else -self._margin(d - size)) for d in drawn]

    def _margin(self, spare: int) -> int:
        """Pixels that a crop removes on the left (or top), out of those it removes on both sides."""
        return round(spare / 2) if self.margin == "nearest" else spare // 2

    def _visible(self, side: int, scale: float, offset: float) -> tuple[int, int, int, int]:
        """First and end pixel of the image that reach into the square, and their positions there (may extend beyond it)."""
        epsilon = 1e-6  # so that 2.9999999 counts as 3
        # Resampling reads pixels beyond the edge of the square, so the exact form also resizes what is then cut off.
        start = 0 if self.exact else min(max(0, math.floor(-offset / scale + epsilon)), side - 1)
        end = side if self.exact else math.ceil((self.size - offset) / scale - epsilon)
        stop = max(min(side, end), start + 1)
        first = round(scale * start + offset)
        return start, stop, first, max(first + 1, round(scale * stop + offset))


def _longer_side(width: int, height: int, longest: int) -> tuple[int, int]:
    """Width and height, scaled so that the longer side is `longest`, rounded as in Idefics3's image processor."""
    short = int(longest * min(width, height) / max(width, height))
    short = max(1, short + short % 2)  # rounded up to an even number
    return (longest, short) if width >= height else (short, longest)


def _check_resizing(size: int, fit: Fit, resize_to: int, resample: Resample, exact: bool) -> None:
    if resize_to and (fit == "pad" or (fit == "squash" and not exact)):
        raise ValueError(
            f"resize_to requires fit crop, or squash with exact (got {resize_to} with fit {fit!r})."
        )
    if resize_to and fit == "crop" and resize_to < size:
        raise ValueError(
            f"resize_to must be at least the size, {size} pixels, or the crop has gaps (got {resize_to})."
        )
    if resample not in _PILLOW:
        raise ValueError(f"resample must be one of {', '.join(_PILLOW)} (got {resample!r}).")
    if resample == "lanczos" and not exact:
        raise ValueError("resample: lanczos requires exact; set exact, or use bicubic (got 'lanczos').")


def names_side(text: str) -> bool:
    """Whether a text mentions left or right, so that its image must not be mirrored.

    Knows English, German, Dutch, French, Spanish, Italian, Portuguese, Chinese and Japanese. Prefers false
    positives: "right" counts in every sense.
    """
    return _SIDES.search(text) is not None
