"""The modality of images, which are resized to the encoder's square; large images may also be cut into tiles."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import field
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator
from torch import Tensor

from sightweave.core.config import config, without_kind
from sightweave.core.types import Medium, MediumInfo, Sample
from sightweave.data.inputs import image_contents, image_files, tiles, transforms
from sightweave.data.inputs.cache import PixelCache
from sightweave.data.inputs.media import _base
from sightweave.data.inputs.media._base import Loaded
from sightweave.data.inputs.pixels import PixelLoader

_KNOWN_SIZES = 100_000
"""Maximum number of generated images whose sizes a loader caches."""


@config
class Config:
    """Settings for converting images to tensors."""

    transform: Annotated[transforms.Config, BeforeValidator(without_kind)]
    """Settings for resizing, normalising and augmenting images."""
    tiles: tiles.Tiles = field(default_factory=tiles.Tiles)
    """Settings for splitting large images into tiles."""

    def build(self, cache: PixelCache | None = None) -> Loader:
        """Builds the image loader.

        Args:
            cache: Cache of images resized by this transform, used if there is no augmentation; it does not change results.
        """
        return Loader(self.transform.build(), self.tiles, cache)


class Loader(_base.Loader):
    """Loads images.

    Args:
        transform: Converts an image's pixels to a tensor.
        tiles: Settings for splitting large images into tiles.
        cache: Cache of images resized by this transform.
    """

    def __init__(
        self, transform: transforms.ImageTransform, tiles: tiles.Tiles, cache: PixelCache | None = None
    ) -> None:
        self.transform, self.tiles = transform, tiles
        self._pixels = PixelLoader(transform, is_whole=self.is_whole, cache=cache)
        self._sizes: dict[str, MediumInfo] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Loader, (
            self.transform,
            self.tiles,
            self._pixels.cache,
        )  # a copy has its own locks and caches

    @property
    def is_whole(self) -> bool:
        """Whether images are decoded at full scale, for exact pixels or because tiles are cut from them."""
        return self.transform.exact or self.tiles.max_tiles > 1

    def size(self, medium: Medium) -> tuple[int, ...]:
        """Height and width in pixels of the encoder's square, which are the same for all images."""
        return (self.transform.size, self.transform.size)

    def info(self, medium: Medium) -> MediumInfo:
        """Size and format of an image from its header; cached for generated images, which must be drawn to get them.

        Raises:
            MediaError: The image cannot be read.
        """
        if not callable(medium.source):
            return image_files.probe(medium)
        if medium.key not in self._sizes:
            if len(self._sizes) >= _KNOWN_SIZES:
                self._sizes.clear()
            self._sizes[medium.key] = image_files.probe(medium)
        return self._sizes[medium.key]

    def value(self, medium: Medium, seed: int | None = None) -> Tensor:
        """Loads one image as float 3 size size; arguments and errors are as for `load`."""
        values = self.load([medium], None if seed is None else [seed]).values
        return values[0]

    def load(
        self,
        media: Sequence[Medium],
        seeds: Sequence[int] | None = None,
        *,
        fixed: frozenset[str] = frozenset(),
        pool: Executor | None = None,
    ) -> Loaded:
        """Loads images as float I 3 size size; media with equal keys, and all tiles of an image, are decoded once."""
        pixels, sizes = self._pixels(media, seeds, fixed=fixed, pool=pool)
        return Loaded(pixels, sizes)

    def expand(self, sample: Sample, *, max_tiles: int | None = None) -> Sample:
        """Inserts the tiles of each large image after the image.

        Args:
            sample: Any sample; a sample without large images is returned unchanged.
            max_tiles: Maximum number of tiles per image; None uses the loader's own setting.

        Raises:
            MediaError: The header of an image cannot be read.
        """
        rules = (
            self.tiles
            if max_tiles is None
            else tiles.Tiles(max_tiles=max_tiles, min_side=self.tiles.min_side)
        )
        return tiles.expand(sample, side=self.transform.size, tiles=rules, probe=self.info)

    def pieces(self, medium: Medium) -> list[Medium]:
        """A list of the image and, if it is large, its tiles."""
        return tiles.pieces(medium, side=self.transform.size, tiles=self.tiles, probe=self.info)

    @staticmethod
    def digest(medium: Medium) -> str:
        """SHA-256 of an image's file, or of its pixels if it has no file, as 64 hexadecimal digits."""
        return image_files.digest(medium)

    @classmethod
    def contents(cls, media: Sequence[Medium]) -> dict[Medium, str]:
        """A name for the content of each image; names are equal if and only if the decoded pixels are."""
        return image_contents.contents(media)

    @staticmethod
    def blank(medium: Medium) -> Medium:
        """An entirely grey image."""
        return Medium(_grey, "blank")

    @staticmethod
    def example(number: int) -> Medium:
        """An image of coloured noise in large dots, 35 x 30 pixels, different for each number."""
        return noise(number, 35, 30)


def _grey() -> np.ndarray:
    return np.full((64, 64, 3), 127, np.uint8)


def noise(number: int, width: int, height: int) -> Medium:
    """An image of coloured noise in dots of 5 x 6 pixels, different for each number."""
    rng = np.random.default_rng(number)
    dots = rng.integers(0, 256, (-(-height // 6), -(-width // 5), 3), dtype=np.uint8)
    pixels = dots.repeat(6, 0).repeat(5, 1)[:height, :width]
    return Medium(pixels, key=f"check-{number}-{width}x{height}")
