"""Pixels to a square tensor: resized with antialiasing, normalised, and in training a little different each time."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sightweave.core.config import config

Box = tuple[float, float, float, float]
Fit = Literal["pad", "crop", "squash"]
Augment = Literal["none", "shift", "photo"]
_LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
"""How bright red, green and blue look (ITU-R BT.601)."""


@config
class Config:
    """How pictures become tensors of one size."""

    size: int
    """Side of the square, in pixels."""
    fit: Fit = "pad"
    """``pad`` keeps all of the picture and its aspect, ``crop`` the middle square, ``squash`` all without its aspect."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Of each channel, in 0 to 1; padding has this colour."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Of each channel, in 0 to 1."""
    augment: Augment = "none"
    """``shift`` moves and scales a little; ``photo`` crops, stretches and changes the light too. Training only."""
    flip: bool = False
    """Whether training mirrors every second picture; wrong wherever left and right are spoken of."""
    gray: float = 0.0
    """Share of the pictures that training shows without their colours, so that forms are not learnt by them."""

    def build(self) -> ImageTransform:
        """The transform."""
        return ImageTransform(
            size=self.size,
            fit=self.fit,
            mean=self.mean,
            std=self.std,
            augment=self.augment,
            flip=self.flip,
            gray=self.gray,
        )


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
        size: Side of the square, in pixels.
        fit: ``pad``, ``crop`` or ``squash``.
        mean: Of each channel, in 0 to 1.
        std: Of each channel, in 0 to 1.
        augment: ``none``, ``shift`` or ``photo``; acts only where a seed is given.
        flip: Mirrors half of the pictures; acts only where a seed is given.
        gray: Share of the pictures that lose their colours; acts only where a seed is given. Random grayscale of SimCLR
            (Chen et al. 2020, arXiv:2002.05709), appendix A.

    Raises:
        ValueError: a size or a std that is not positive, a `gray` outside 0 to 1, or an unknown `fit` or `augment`.
    """

    def __init__(
        self,
        *,
        size: int,
        fit: Fit = "pad",
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        std: tuple[float, float, float] = (0.5, 0.5, 0.5),
        augment: Augment = "none",
        flip: bool = False,
        gray: float = 0.0,
    ) -> None:
        if size < 1:
            raise ValueError(f"size: must be at least 1 pixel (got {size}).")
        if min(std) <= 0:
            raise ValueError(f"std: each must be over 0 (got {std}).")
        if fit not in ("pad", "crop", "squash"):
            raise ValueError(f"fit: pad, crop or squash (got {fit!r}).")
        if augment not in ("none", "shift", "photo"):
            raise ValueError(f"augment: none, shift or photo (got {augment!r}).")
        if not 0 <= gray <= 1:
            raise ValueError(f"gray: a share from 0 to 1 (got {gray}).")
        self.size, self.fit, self.augment, self.flip, self.gray = size, fit, augment, flip, gray
        self.mean, self.std = tuple(mean), tuple(std)
        self._scale = torch.tensor([1 / (255 * value) for value in std])[:, None, None]
        self._shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)])[:, None, None]

    def __call__(self, pixels: np.ndarray, seed: int | None = None) -> Tensor:
        """One picture.

        Args:
            pixels: uint8 H W 3.
            seed: Any integer: the same one always draws the same variation. None draws none.

        Returns:
            float32 3 size size, (value / 255 - mean) / std; 0 on padding.
        """
        size = self.size
        view = self._view(pixels.shape[1], pixels.shape[0], seed)
        left, top, right, bottom = view.source
        values = torch.from_numpy(
            np.require(pixels[top:bottom, left:right], requirements=("C", "W"))
        ).permute(2, 0, 1)  # 3 h w
        left, top, right, bottom = view.target
        if values.shape[1:] != (bottom - top, right - left):
            values = functional.interpolate(
                values[None], size=(bottom - top, right - left), mode="bicubic", antialias=True
            )[0]
        values = values[:, max(0, -top) : size - top, max(0, -left) : size - left]
        drawn = values.to(torch.float32)
        if view.is_relit:
            middle = drawn.mean()
            drawn = (((drawn - middle) * view.contrast + middle) * view.brightness).clamp(0, 255)
        if view.is_gray:
            drawn = (drawn * _LUMA).sum(0, keepdim=True).expand(3, -1, -1)
        drawn = drawn * self._scale - self._shift
        if drawn.shape[1:] != (size, size):
            square = torch.zeros(3, size, size)
            square[:, max(0, top) : bottom, max(0, left) : right] = drawn
            drawn = square
        return (drawn.flip(2) if view.is_mirrored else drawn).contiguous()

    def place(self, box: Box, width: int, height: int, seed: int | None = None) -> Box:
        """Where a box of the picture lies in the square.

        Args:
            box: Left, top, right, bottom as fractions of the picture.
            width: Of the picture, in pixels.
            height: Of the picture, in pixels.
            seed: The one that was given with the picture.

        Returns:
            The box as fractions of the square, cut at its edges: without area where nothing of it is left.
        """
        view = self._view(width, height, seed)
        left, right = (self._along(value * width, view, 0) for value in box[0::2])
        top, bottom = (self._along(value * height, view, 1) for value in box[1::2])
        return (1 - right, top, 1 - left, bottom) if view.is_mirrored else (left, top, right, bottom)

    def _along(self, value: float, view: _View, axis: int) -> float:
        start, stop = view.source[axis], view.source[axis + 2]
        first, last = view.target[axis], view.target[axis + 2]
        placed = first + (value - start) * (last - first) / (stop - start)
        return min(max(placed, 0.0), self.size) / self.size

    def _view(self, width: int, height: int, seed: int | None) -> _View:
        """Along each axis a pixel x of the picture is drawn at ``scale * x + offset`` of the square."""
        scales, offsets = self._fitted(width, height)
        mirrored, brightness, contrast, gray = False, 1.0, 1.0, False
        if seed is not None:
            draw = random.Random(seed).uniform
            mirrored = draw(0, 1) < 0.5 and self.flip
            if self.augment != "none":
                is_photo = self.augment == "photo"
                zoom = draw(1.0, 1.35) if is_photo else draw(0.9, 1.1)
                stretch = draw(0.9, 1.1) if is_photo else 1.0
                reach = (zoom - 1) / 2 if is_photo else 0.06
                zooms = (zoom * stretch, zoom / stretch)
                middle = self.size / 2
                moves = [draw(-reach, reach) * self.size for _ in zooms]
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

    def _fitted(self, width: int, height: int) -> tuple[list[float], list[float]]:
        """Scale and offset along x and y without any augmentation."""
        sides, size = (width, height), self.size
        if self.fit == "squash":
            return [size / side for side in sides], [0.0, 0.0]
        if self.fit == "pad":
            drawn = [max(1, round(side * size / max(sides))) for side in sides]
            return [d / side for d, side in zip(drawn, sides, strict=True)], [
                float((size - d) // 2) for d in drawn
            ]
        scale = size / min(sides)
        return [scale, scale], [-((side - min(sides)) // 2) * scale for side in sides]

    def _visible(self, side: int, scale: float, offset: float) -> tuple[int, int, int, int]:
        """The whole pixels of the picture that reach into the square, and where they are drawn (it may stand out)."""
        nothing = 1e-6  # so that 2.9999999 counts as 3
        start = min(max(0, math.floor(-offset / scale + nothing)), side - 1)
        stop = max(min(side, math.ceil((self.size - offset) / scale - nothing)), start + 1)
        first = round(scale * start + offset)
        return start, stop, first, max(first + 1, round(scale * stop + offset))
