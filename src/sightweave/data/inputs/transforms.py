"""The image transform: resizes pixels to a square with antialiasing, normalises and, in training, augments them."""

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
"""Maximum side of the square in pixels; a larger one would take gigabytes of memory."""
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
"""Matches words for left and right, in the order of the languages listed in `names_side`."""
_LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
"""Luma weights of red, green and blue (ITU-R BT.601)."""


@config
class Config:
    """Settings of the image transform, which converts images to square tensors of one size."""

    size: Annotated[int, Field(ge=1, le=_MAX_SIDE)]
    """Side of the square output in pixels."""
    fit: Fit = "pad"
    """Method of fitting images into the square: ``pad`` keeps the aspect ratio and pads, ``crop`` keeps only the centre,
    and ``squash`` changes the aspect ratio."""
    resize_to: Annotated[int, Field(ge=0, le=_MAX_SIDE)] = 0
    """With ``crop``: shorter side in pixels before the crop, such as 256 for a crop of 224; 0 means `size`. With ``squash``
    and `exact`: longer side in pixels of a first resizing step, as in Idefics3; 0 skips this step."""
    resample: Resample = "bicubic"
    """Resampling filter; ``lanczos`` requires `exact`."""
    exact: bool = False
    """Whether to resample the whole image with Pillow and decode JPEGs at full scale. This is slower, but gives the same
    pixels as the image processors of Transformers, for encoders that were trained with them."""
    margin: Margin = "down"
    """Rounding of a crop margin of half a pixel with `exact`: ``down`` as in the image processors of Transformers, or to
    the ``nearest`` even number as in torchvision and timm."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Mean of each channel, 0 to 1, which is also the padding colour."""
    std: tuple[_Deviation, _Deviation, _Deviation] = (0.5, 0.5, 0.5)
    """Standard deviation of each channel, 0 to 1."""
    augment: Augment = "none"
    """Augmentation of training images: ``none``, ``shift`` (moves and scales slightly) or ``photo`` (also crops, stretches
    and changes the lighting)."""
    flip: bool = False
    """Whether to mirror half of the training images, except those whose texts mention left or right (see `names_side`)."""
    gray: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of training images that are converted to grey, so that the model does not rely on colours alone."""

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
    """An image after resizing and before normalisation, as stored in a pixel cache."""

    values: Tensor
    """Pixels, uint8 3 h w, with h and w at most the side of the square; the rest of the square is padding."""
    left: int
    """Index of the image's first column in the square."""
    top: int
    """Index of the image's first row in the square."""
    width: int
    """Width of the original image in pixels."""
    height: int
    """Height of the original image in pixels."""


@dataclass(frozen=True, slots=True)
class _View:
    """A mapping of an image to the square, with changes of its brightness, contrast and colours.

    Boxes are left, top, right and bottom in whole pixels.
    """

    source: tuple[int, int, int, int]
    """Box of the image that is resized."""
    target: tuple[int, int, int, int]
    """Box in the square to which it is resized. It may extend beyond the square; the excess is cut off after resizing."""
    is_mirrored: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    is_gray: bool = False

    @property
    def is_relit(self) -> bool:
        """Whether the brightness or the contrast is changed."""
        return self.brightness != 1 or self.contrast != 1


class ImageTransform:
    """Converts images to square tensors of one size, and maps boxes from an image to its tensor.

    Args:
        size: Side of the square output in pixels.
        fit: ``pad``, ``crop`` or ``squash``; see `Config`.
        resize_to: With ``crop``, shorter side in pixels before the crop; 0 means `size`. With ``squash``, longer side in
            pixels of a first resizing step; 0 skips this step.
        resample: ``bicubic``, ``bilinear`` or, with `exact`, ``lanczos``.
        exact: Whether to resize the whole image with Pillow before the crop; the caller must then decode at full scale.
        margin: Rounding of a crop margin of half a pixel with `exact`: ``down`` or ``nearest``.
        mean: Mean of each channel, 0 to 1.
        std: Standard deviation of each channel, 0 to 1.
        augment: ``none``, ``shift`` or ``photo``; applied only with a seed.
        flip: Whether to mirror half of the images; applied only with a seed.
        gray: Fraction of images that are converted to grey; applied only with a seed. This is the random grayscale of
            SimCLR (Chen et al. 2020, arXiv:2002.05709), appendix A.

    Raises:
        ValueError: `size` or a `std` is not positive, `gray` is not from 0 to 1, `fit`, `margin`, `resample` or `augment` is
            unknown, `resize_to` does not fit the other settings, or ``lanczos`` is used without `exact`.
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
            seed: Augmentation seed; the same seed always gives the same result. None turns augmentation off.
            may_flip: Whether the image may be mirrored; this does not affect the rest of the augmentation.
            is_tile: Whether the pixels are a tile of a larger image. A tile always fills the square, and augmentation
                changes only its lighting and colours, so that it still matches the adjacent tiles.

        Returns:
            float32 3 size size: (value / 255 - mean) / std, and 0 on padding.
        """
        view = self._view(pixels.shape[1], pixels.shape[0], seed, may_flip=may_flip, is_tile=is_tile)
        return self._finish(self._resize(pixels, view), view)

    def resize(self, pixels: np.ndarray, *, is_tile: bool = False) -> Resized:
        """Resizes an image without augmentation; ``finish(resize(pixels))`` is bit-identical to ``self(pixels)``.

        Args:
            pixels: uint8 H W 3.
            is_tile: As for `__call__`.
        """
        return self._resize(pixels, self._view(pixels.shape[1], pixels.shape[0], None, is_tile=is_tile))

    def finish(self, resized: Resized) -> Tensor:
        """Normalises and pads a resized image; returns float32 3 size size."""
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

        # Normalise in place, since memory traffic is most of the cost and the tensor is our own copy. The exact form rounds
        # in the same places as Transformers; the other form needs one pass less.
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
        """Maps a box in the image to the square.

        Args:
            box: Left, top, right and bottom as fractions of the image.
            width: Width of the image in pixels.
            height: Height of the image in pixels.
            seed: The augmentation seed with which the image was transformed.
            may_flip: The value of `may_flip` with which the image was transformed.

        Returns:
            The box as fractions of the square, clipped at its edges; the area is 0 if no part of the box is visible.
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
        """Computes the view of an image, whose pixel x is mapped to ``scale * x + offset`` in the square on each axis."""
        scales, offsets = self._fitted(width, height, is_tile)
        mirrored, brightness, contrast, gray = False, 1.0, 1.0, False

        # The order of the random draws must not change, so that a seed always gives the same augmentation.
        if seed is not None:
            draw = random.Random(seed).uniform
            mirrored = draw(0, 1) < 0.5 and self.flip and may_flip and not is_tile
            if self.augment != "none":
                # Draw this for tiles too, so that the following draws are the same as for other images.
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
        """Draws a random zoom, stretch and shift, and applies them to the scales and offsets along x and y."""
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
        """Scales and offsets along x and y without augmentation."""
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
            # Crop at whole pixels of the image, so that only the cropped part needs to be resampled.
            scale, seen = self.resize_to / short, max(1, round(short * size / self.resize_to))
            return [scale, scale], [-((side - seen) // 2) * scale for side in sides]

        scales = [d / side for d, side in zip(drawn, sides, strict=True)]
        return scales, [float((size - d) // 2 if d <= size else -self._margin(d - size)) for d in drawn]

    def _margin(self, spare: int) -> int:
        """Number of pixels that a crop removes on the left (or top), of the `spare` pixels it removes on both sides."""
        return round(spare / 2) if self.margin == "nearest" else spare // 2

    def _visible(self, side: int, scale: float, offset: float) -> tuple[int, int, int, int]:
        """The visible part of the image along one axis: first and end pixel in the image, then in the square, unclipped."""
        epsilon = 1e-6  # tolerance, so that 2.9999999 counts as 3
        # Resampling reads pixels beyond the edge of the square, so the exact form resizes the parts that are cut off too.
        start = 0 if self.exact else min(max(0, math.floor(-offset / scale + epsilon)), side - 1)
        end = side if self.exact else math.ceil((self.size - offset) / scale - epsilon)
        stop = max(min(side, end), start + 1)
        first = round(scale * start + offset)
        return start, stop, first, max(first + 1, round(scale * stop + offset))


def _longer_side(width: int, height: int, longest: int) -> tuple[int, int]:
    """Scales a width and height so that the longer side is `longest`, with the rounding of Idefics3's image processor."""
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

    Recognises English, German, Dutch, French, Spanish, Italian, Portuguese, Chinese and Japanese words. False positives are
    accepted: "right" counts in any sense.
    """
    return _SIDES.search(text) is not None
