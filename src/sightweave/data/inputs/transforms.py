"""Pixels to a square tensor: resized with antialiasing, normalised, and in training a little different each time."""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from sightweave.core.config import config

_MOST_PIXELS = 8192
"""Of a side; a larger square would take gigabytes."""
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
"""In the languages that `names_side` names, in that order."""
_LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
"""How bright red, green and blue look (ITU-R BT.601)."""


@config
class Config:
    """How images become tensors of one size."""

    size: Annotated[int, Field(ge=1, le=_MOST_PIXELS)]
    """Side of the square output, in pixels."""
    fit: Fit = "pad"
    """``pad`` keeps all of the picture and its aspect, ``crop`` the middle square, ``squash`` all without its aspect."""
    resize_to: Annotated[int, Field(ge=0, le=_MOST_PIXELS)] = 0
    """With ``crop``: pixels of the shorter side before the crop, such as 256 for a crop of 224; 0 means `size`. With
    ``squash`` and `exact`: pixels of the longer side in a resizing before that to the square, as in Idefics3; 0: none."""
    resample: Resample = "bicubic"
    """Resampling filter; ``lanczos`` requires `exact`."""
    exact: bool = False
    """Pillow's own resampling of the whole picture, and JPEGs decoded at full scale: the pixels of Transformers' image
    processors, for encoders that were trained on them. Slower."""
    margin: Margin = "down"
    """How an exact crop rounds a margin that ends in half a pixel: ``down`` as Transformers' image processors, or to the
    ``nearest`` even number as torchvision and timm."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Mean of each channel, 0 to 1; also the padding colour."""
    std: tuple[_Deviation, _Deviation, _Deviation] = (0.5, 0.5, 0.5)
    """Standard deviation of each channel, 0 to 1."""
    augment: Augment = "none"
    """``shift`` moves and scales a little; ``photo`` crops, stretches and changes the light too. Training only."""
    flip: bool = False
    """Whether to mirror half of the training images, except those whose texts name a side (see `names_side`)."""
    gray: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of the training images shown without colour, so that shapes are not learnt from colours."""

    def build(self) -> ImageTransform:
        """The transform."""
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
    """A picture at the size that the transform wants, before it is normalised: what a cache keeps."""

    values: Tensor
    """uint8 3 h w, with h and w up to the side of the square; what is missing there is padding."""
    left: int
    """Column of the square where it begins."""
    top: int
    """Row of the square where it begins."""
    width: int
    """Of the picture that it was made from, in pixels."""
    height: int
    """Of the picture that it was made from, in pixels."""


@dataclass(frozen=True, slots=True)
class _View:
    """Which pixels of the picture are drawn where in the square: left, top, right, bottom, all whole pixels."""

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]
    """May stand out of the square; what does is cut off after the resizing."""
    is_mirrored: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    is_gray: bool = False

    @property
    def is_relit(self) -> bool:
        """Whether brightness or contrast change anything."""
        return self.brightness != 1 or self.contrast != 1


class ImageTransform:
    """Makes tensors of one size, and says where a box of the picture lies in them.

    Args:
        size: Side of the square output, in pixels.
        fit: ``pad``, ``crop`` or ``squash``.
        resize_to: With ``crop``, pixels of the shorter side before the crop; 0 means `size`. With ``squash``, pixels of the
            longer side in a resizing before the one to the square; 0 means none.
        resample: ``bicubic``, ``bilinear`` or, with `exact`, ``lanczos``.
        exact: Resizes as Pillow does, the whole picture before the crop; the caller must then decode whole pictures.
        margin: How an exact crop rounds half a pixel: ``down``, or to the ``nearest`` even number as torchvision.
        mean: Of each channel, in 0 to 1.
        std: Of each channel, in 0 to 1.
        augment: ``none``, ``shift`` or ``photo``; acts only where a seed is given.
        flip: Mirrors half of the pictures; acts only where a seed is given.
        gray: Share of the pictures that lose their colours; acts only where a seed is given. Random grayscale of SimCLR
            (Chen et al. 2020, arXiv:2002.05709), appendix A.

    Raises:
        ValueError: a size or a std that is not positive, a `resize_to` with ``pad`` or, with ``crop``, under `size`, a
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
        self._mean, self._std = (torch.tensor(values)[:, None, None] for values in (mean, std))

    def __call__(
        self, pixels: np.ndarray, seed: int | None = None, *, may_flip: bool = True, is_tile: bool = False
    ) -> Tensor:
        """One picture.

        Args:
            pixels: uint8 H W 3.
            seed: Any integer: the same one always draws the same variation. None draws none.
            may_flip: False keeps left on the left, whatever the seed; the other variations stay what they are.
            is_tile: It is a tile of a larger picture: it fills the square whatever its aspect, and a seed changes only
                its light and colours, or its neighbours would not fit.

        Returns:
            float32 3 size size, (value / 255 - mean) / std; 0 on padding.
        """
        view = self._view(pixels.shape[1], pixels.shape[0], seed, may_flip=may_flip, is_tile=is_tile)
        return self._finish(self._resize(pixels, view), view)

    def resize(self, pixels: np.ndarray, *, is_tile: bool = False) -> Resized:
        """The first half of a call without a seed: ``finish(resize(pixels))`` has the bits of ``self(pixels)``.

        Args:
            pixels: uint8 H W 3.
            is_tile: As in a call.
        """
        return self._resize(pixels, self._view(pixels.shape[1], pixels.shape[0], None, is_tile=is_tile))

    def finish(self, resized: Resized) -> Tensor:
        """The second half: float32 3 size size, normalised and padded."""
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
        """uint8 H W 3 to uint8 3 height width."""
        first = self.resize_to if self.fit == "squash" else 0
        is_same = pixels.shape[:2] == (height, width) and not first
        if self.exact and not is_same:
            picture = Image.fromarray(pixels)
            if first:
                picture = picture.resize(_longer_side(*picture.size, first), _PILLOW[self.resample])
            small = picture.resize((width, height), _PILLOW[self.resample])
            return torch.from_numpy(np.array(small)).permute(2, 0, 1)
        values = torch.from_numpy(pixels).permute(2, 0, 1)
        if is_same:
            return values
        return functional.interpolate(values[None], size=(height, width), mode=self.resample, antialias=True)[
            0
        ]

    def _finish(self, resized: Resized, view: _View | None) -> Tensor:
        size, left, top = self.size, resized.left, resized.top
        drawn = resized.values.to(torch.float32)
        if view is not None and view.is_relit:
            middle = drawn.mean()
            drawn = (((drawn - middle) * view.contrast + middle) * view.brightness).clamp(0, 255)
        if view is not None and view.is_gray:
            drawn = (drawn * _LUMA).sum(0, keepdim=True).repeat(3, 1, 1)
        # In place, since it is a copy of ours and memory is most of the cost. The exact form rounds where Transformers
        # rounds; the other one takes a pass less.
        if self.exact:
            drawn.div_(255).sub_(self._mean).div_(self._std)
        else:
            drawn.mul_(self._scale).sub_(self._shift)
        if drawn.shape[1:] != (size, size):
            square = torch.zeros(3, size, size)
            square[:, top : top + drawn.shape[1], left : left + drawn.shape[2]] = drawn
            drawn = square
        return (drawn.flip(2) if view is not None and view.is_mirrored else drawn).contiguous()

    def place(
        self, box: Box, width: int, height: int, seed: int | None = None, *, may_flip: bool = True
    ) -> Box:
        """Where a box of the picture lies in the square.

        Args:
            box: Left, top, right, bottom as fractions of the picture.
            width: Of the picture, in pixels.
            height: Of the picture, in pixels.
            seed: The one that was given with the picture.
            may_flip: As it was given with the picture.

        Returns:
            The box as fractions of the square, cut at its edges: without area where nothing of it is left.
        """
        view = self._view(width, height, seed, may_flip=may_flip)
        left, right = (self._along(value * width, view, 0) for value in box[0::2])
        top, bottom = (self._along(value * height, view, 1) for value in box[1::2])
        return (1 - right, top, 1 - left, bottom) if view.is_mirrored else (left, top, right, bottom)

    def _along(self, value: float, view: _View, axis: int) -> float:
        start, stop = view.source[axis], view.source[axis + 2]
        first, last = view.target[axis], view.target[axis + 2]
        placed = first + (value - start) * (last - first) / (stop - start)
        return min(max(placed, 0.0), self.size) / self.size

    def _view(
        self, width: int, height: int, seed: int | None, *, may_flip: bool = True, is_tile: bool = False
    ) -> _View:
        """Along each axis a pixel x of the picture is drawn at ``scale * x + offset`` of the square."""
        scales, offsets = self._fitted(width, height, is_tile)
        mirrored, brightness, contrast, gray = False, 1.0, 1.0, False
        if seed is not None:
            draw = random.Random(seed).uniform
            mirrored = draw(0, 1) < 0.5 and self.flip and may_flip and not is_tile
            if self.augment != "none":
                is_photo = self.augment == "photo"
                zoom = draw(1.0, 1.35) if is_photo else draw(0.9, 1.1)
                stretch = draw(0.9, 1.1) if is_photo else 1.0
                reach = (zoom - 1) / 2 if is_photo else 0.06
                zooms = (zoom * stretch, zoom / stretch)
                middle = self.size / 2
                moves = [draw(-reach, reach) * self.size for _ in zooms]
                if not is_tile:
                    offsets = [
                        middle + (b - middle) * z + m for b, z, m in zip(offsets, zooms, moves, strict=True)
                    ]
                    scales = [a * z for a, z in zip(scales, zooms, strict=True)]
                if is_photo:
                    brightness, contrast = draw(0.8, 1.2), draw(0.8, 1.2)
            gray = draw(0, 1) < self.gray
        (x0, x1, left, right), (y0, y1, top, bottom) = (
            self._visible(*axis) for axis in zip((width, height), scales, offsets, strict=True)
        )
        return _View((x0, y0, x1, y1), (left, top, right, bottom), mirrored, brightness, contrast, gray)

    def _fitted(self, width: int, height: int, is_tile: bool) -> tuple[list[float], list[float]]:
        """Scale and offset along x and y without any augmentation."""
        sides, size = (width, height), self.size
        short = min(sides)
        if self.fit == "squash" or is_tile:
            return [size / side for side in sides], [0.0, 0.0]
        if self.fit == "pad":
            drawn = [max(1, round(side * size / max(sides))) for side in sides]
        elif self.exact:
            # As Transformers and torchvision count: the longer side is rounded down.
            drawn = [self.resize_to if side == short else self.resize_to * side // short for side in sides]
        else:
            # Cut at whole pixels of the picture, so that the square alone is resampled.
            scale, seen = self.resize_to / short, max(1, round(short * size / self.resize_to))
            return [scale, scale], [-((side - seen) // 2) * scale for side in sides]
        scales = [d / side for d, side in zip(drawn, sides, strict=True)]
        return scales, [float((size - d) // 2 if d <= size else -self._margin(d - size)) for d in drawn]

    def _margin(self, spare: int) -> int:
        """Pixels that a crop leaves at the left, of those that it leaves on both sides."""
        return round(spare / 2) if self.margin == "nearest" else spare // 2

    def _visible(self, side: int, scale: float, offset: float) -> tuple[int, int, int, int]:
        """The whole pixels of the picture that reach into the square, and where they are drawn (it may stand out)."""
        nothing = 1e-6  # so that 2.9999999 counts as 3
        # Resampling looks over the edge of the square, so the exact way resizes what is then cut off.
        start = 0 if self.exact else min(max(0, math.floor(-offset / scale + nothing)), side - 1)
        end = side if self.exact else math.ceil((self.size - offset) / scale - nothing)
        stop = max(min(side, end), start + 1)
        first = round(scale * start + offset)
        return start, stop, first, max(first + 1, round(scale * stop + offset))


def _longer_side(width: int, height: int, longest: int) -> tuple[int, int]:
    """Width and height with a longer side of so many pixels, as Idefics3's image processor counts them."""
    short = int(longest * min(width, height) / max(width, height))
    short = max(1, short + short % 2)  # even there
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
    """Whether a text speaks of left or right, so that its picture may not be mirrored.

    Knows English, German, Dutch, French, Spanish, Italian, Portuguese, Chinese and Japanese. Errs on the side of yes:
    "right" counts in every sense.
    """
    return _SIDES.search(text) is not None
