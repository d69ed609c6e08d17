"""Loads the pixels of a batch: each image is decoded once, in this thread or in several, with identical results."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sightweave.core.types import Medium
from sightweave.data.inputs import image_files
from sightweave.data.inputs import tiles as tiling
from sightweave.data.inputs.cache import PixelCache
from sightweave.data.inputs.tiles import Tile
from sightweave.data.inputs.transforms import ImageTransform, Resized

_KEPT_BYTES = 64 << 20
"""Maximum bytes of decoded pixels kept in memory."""


class PixelLoader:
    """Loads and transforms the media of a batch. Thread-safe.

    Args:
        transform: Turns the pixels of an image into a tensor.
        is_whole: Whether to decode every image at full scale, and not only those that are cut into tiles.
        cache: Resized pixels of this transform, used when there is no augmentation.
    """

    def __init__(self, transform: ImageTransform, *, is_whole: bool, cache: PixelCache | None = None) -> None:
        self.transform, self.is_whole, self.cache = transform, is_whole, cache
        self._kept = _Kept()

    def __call__(
        self,
        media: Sequence[Medium],
        seeds: Sequence[int] | None = None,
        *,
        fixed: frozenset[str] = frozenset(),
        pool: Executor | None = None,
    ) -> tuple[Float[Tensor, "I 3 Hp Wp"], list[tuple[int, int]]]:
        """Returns the tensors, and the width and height in pixels of each medium.

        Args:
            media: Any media; those with equal keys, and all tiles of an image, are decoded once.
            seeds: Augmentation seed for each medium; None turns augmentation off.
            fixed: Keys of images that must not be mirrored. Images that are cut into tiles never are.
            pool: Threads that decode, with identical results; None decodes in this thread. Torch runs in this thread
                only: its own threads, multiplied by those of the pool, would exceed the number of cores.

        Raises:
            MediaError: An image cannot be read; the first of them, if there are several.
        """
        parents = [tiling.whole(medium) for medium in media]
        cut: set[str] = set()
        for medium, parent in zip(media, parents, strict=True):
            if isinstance(medium.source, Tile):
                cut.add(parent.key)

        # Look up the cache; each image that it misses is decoded once.
        cached: list[Resized | None] = []
        missing: dict[str, Medium] = {}
        for medium, parent in zip(media, parents, strict=True):
            known = self._cached(medium, parent.key in cut, seeds)
            cached.append(known)
            if known is None:
                missing[parent.key] = parent
        decoded = self._decoded(list(missing.values()), cut, pool)

        # Transform the media in order; the decoded images arrive in the order of their first use.
        loaded: dict[str, np.ndarray] = {}
        tensors, sizes = [], []
        for index, (medium, parent, known) in enumerate(zip(media, parents, cached, strict=True)):
            if known is not None:
                tensors.append(self.transform.finish(known))
                sizes.append((known.width, known.height))
                continue

            while parent.key not in loaded:
                key, whole = next(decoded)
                loaded[key] = whole
            pixels = loaded[parent.key]
            if isinstance(medium.source, Tile):
                pixels = medium.source.cut(pixels)

            seed = None if seeds is None else seeds[index]
            may_flip = parent.key not in fixed and parent.key not in cut
            tensors.append(self.transform(pixels, seed, may_flip=may_flip, is_tile=parent is not medium))
            sizes.append((pixels.shape[1], pixels.shape[0]))

        return torch.stack(tensors), sizes

    def _decoded(
        self, media: list[Medium], cut: set[str], pool: Executor | None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Keys and pixels in order, each decoded on demand, or ahead of time by the threads."""
        if pool is not None:
            # Source functions (which draw, or read from a larger file) run in this thread: they need not be thread-safe.
            media = [_fetched(medium) for medium in media]
            # Without anything to decode, handing work to threads costs more than the work itself.
            needs_decoding = any(isinstance(medium.source, Path | bytes) for medium in media)
            pool = pool if needs_decoding else None

        map_over = map if pool is None else pool.map
        pixels = map_over(lambda medium: self._load(medium, self.is_whole or medium.key in cut), media)
        return zip([medium.key for medium in media], pixels, strict=True)

    def _cached(self, medium: Medium, is_cut: bool, seeds: Sequence[int] | None) -> Resized | None:
        """Cached resized pixels, or None if the cache cannot be used: it has only one scale and no augmentation."""
        if seeds is not None or self.cache is None or (is_cut and not self.is_whole):
            return None
        return self.cache.get(medium)

    def _load(self, medium: Medium, is_whole: bool) -> np.ndarray:
        """Decoded pixels; those of files are kept while there is room, since training needs them again."""
        key = (medium.key, is_whole)
        pixels = self._kept.get(key)
        if pixels is None:
            side = self.transform.size
            pixels = image_files.load(medium, size_hint=None if is_whole else (side, side))
            if isinstance(medium.source, Path):
                self._kept.add(key, pixels)
        return pixels


class _Kept:
    """Decoded pixels by key, up to a number of bytes. Thread-safe."""

    def __init__(self) -> None:
        self._pixels: dict[tuple[str, bool], np.ndarray] = {}
        self._bytes = 0
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Kept, ()  # a copy starts empty

    def get(self, key: tuple[str, bool]) -> np.ndarray | None:
        return self._pixels.get(key)

    def add(self, key: tuple[str, bool], pixels: np.ndarray) -> None:
        """Keeps the pixels, unless they are already there or there is no room."""
        with self._lock:
            if key not in self._pixels and self._bytes + pixels.nbytes <= _KEPT_BYTES:
                self._pixels[key] = pixels
                self._bytes += pixels.nbytes


def _fetched(medium: Medium) -> Medium:
    """Calls the source function of a medium, if it has one; the result is decoded later, perhaps in another thread."""
    if not callable(medium.source):
        return medium
    return dataclasses.replace(medium, source=medium.source())
