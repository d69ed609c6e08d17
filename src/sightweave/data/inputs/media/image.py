"""Images: decoded, resized to the encoder's square, and large ones cut into tiles."""

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
    """How images become tensors."""

    transform: Annotated[transforms.Config, BeforeValidator(without_kind)]
    """How images are resized, normalised and varied."""
    tiles: tiles.Tiles = field(default_factory=tiles.Tiles)
    """How large images are split into tiles."""

    def build(self, cache: PixelCache | None = None) -> Loader:
        """The loader.

        Args:
            cache: Resized images of this transform, used without augmentation; it does not affect the result.
        """
        return Loader(self.transform.build(), self.tiles, cache)


class Loader(_base.Loader):
    """Reads images.

    Args:
        transform: Makes a tensor from an image's pixels.
        tiles: How large images are split into tiles.
        cache: Resized images of this transform.
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
        )  # a copy has its own locks and memory

    @property
    def is_whole(self) -> bool:
        """Whether images are decoded at full scale, either for exact pixels or because tiles are cut from them."""
        return self.transform.exact or self.tiles.max_tiles > 1

    def size(self, medium: Medium) -> tuple[int, ...]:
        """Height and width in pixels: those of the encoder's square, for any image."""
        return (self.transform.size, self.transform.size)

    def info(self, medium: Medium) -> MediumInfo:
        """The header facts of an image; those of a generated one are cached, since it must be drawn to get them.

        Raises:
            MediaError: It cannot be read.
        """
        if not callable(medium.source):
            return image_files.probe(medium)
        if medium.key not in self._sizes:
            if len(self._sizes) >= _KNOWN_SIZES:
                self._sizes.clear()
            self._sizes[medium.key] = image_files.probe(medium)
        return self._sizes[medium.key]

    def value(self, medium: Medium, seed: int | None = None) -> Tensor:
        """Float 3 size size."""
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
        """Images as float I 3 size size; equal keys, and all tiles of an image, are decoded once."""
        pixels, sizes = self._pixels(media, seeds, fixed=fixed, pool=pool)
        return Loaded(pixels, sizes)

    def expand(self, sample: Sample, *, max_tiles: int | None = None) -> Sample:
        """The sample, with each of its large images followed by its tiles.

        Args:
            sample: Any sample; one without large images is returned unchanged.
            max_tiles: Maximum tiles of an image; None means the loader's own number.

        Raises:
            MediaError: A header cannot be read.
        """
        rules = (
            self.tiles
            if max_tiles is None
            else tiles.Tiles(max_tiles=max_tiles, min_side=self.tiles.min_side)
        )
        return tiles.expand(sample, side=self.transform.size, tiles=rules, probe=self.info)

    def pieces(self, medium: Medium) -> list[Medium]:
        """An image, and its tiles if it is large."""
        return tiles.pieces(medium, side=self.transform.size, tiles=self.tiles, probe=self.info)

    @staticmethod
    def digest(medium: Medium) -> str:
        """SHA-256 of the file of an image, or of its pixels if it has none."""
        return image_files.digest(medium)

    @classmethod
    def contents(cls, media: Sequence[Medium]) -> dict[Medium, str]:
        """Names that are equal if and only if the decoded pixels are equal."""
        return image_contents.contents(media)

    @staticmethod
    def blank(medium: Medium) -> Medium:
        """An entirely grey image."""
        return Medium(_grey, "blank")

    @staticmethod
    def example(number: int) -> Medium:
        """Coloured noise in large dots, 35 x 30 pixels."""
        return noise(number, 35, 30)


def _grey() -> np.ndarray:
    return np.full((64, 64, 3), 127, np.uint8)


def noise(number: int, width: int, height: int) -> Medium:
    """An image of coloured noise in dots of 5 x 6 pixels, a different one for each number."""
    rng = np.random.default_rng(number)
    dots = rng.integers(0, 256, (-(-height // 6), -(-width // 5), 3), dtype=np.uint8)
    pixels = dots.repeat(6, 0).repeat(5, 1)[:height, :width]
    return Medium(pixels, key=f"check-{number}-{width}x{height}")
