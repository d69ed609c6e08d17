"""Loads the pixels of a batch, decoding each image once, in the calling thread or in several threads."""

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
"""Maximum size in bytes of the decoded pixels kept in memory."""


class PixelLoader:
    """Loads and transforms the images of a batch; thread-safe.

    Args:
        transform: Converts the pixels of an image to a tensor.
        is_whole: Whether to decode all images at full scale, rather than only those that are cut into tiles.
        cache: Cache of pixels resized by this transform, used if there is no augmentation.
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
        """Loads images and tiles; returns their tensors, and the original width and height in pixels of each.

        Args:
            media: Images and tiles. Media with equal keys, and all tiles of an image, are decoded once.
            seeds: Augmentation seed of each medium; None turns augmentation off.
            fixed: Keys of images that must not be mirrored. Images that are cut into tiles are never mirrored.
            pool: Threads that decode images, which do not change the result; None decodes in this thread. Torch operations
                always run in this thread, since torch's own threads, multiplied by those of the pool, would exceed the
                number of cores.

        Raises:
            MediaError: An image cannot be read; if there are several, the error is that of the first one.
        """
        parents = [tiling.whole(medium) for medium in media]
        cut: set[str] = set()
        for medium, parent in zip(media, parents, strict=True):
            if isinstance(medium.source, Tile):
                cut.add(parent.key)

        # Look up the media in the cache, and collect the images that must be decoded.
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
        """Yields the key and pixels of each image in order; threads in `pool` decode ahead of time."""
        if pool is not None:
            # Call source functions, which draw or read a part of a file, in this thread, as they may not be thread-safe.
            media = [_fetched(medium) for medium in media]
            # Use threads only if something must be decoded, since distributing the work costs more than drawn images do.
            needs_decoding = any(isinstance(medium.source, Path | bytes) for medium in media)
            pool = pool if needs_decoding else None

        map_over = map if pool is None else pool.map
        pixels = map_over(lambda medium: self._load(medium, self.is_whole or medium.key in cut), media)
        return zip([medium.key for medium in media], pixels, strict=True)

    def _cached(self, medium: Medium, is_cut: bool, seeds: Sequence[int] | None) -> Resized | None:
        """Cached resized pixels of a medium; None if they are missing or cannot be used (with augmentation or tiles)."""
        if seeds is not None or self.cache is None or (is_cut and not self.is_whole):
            return None
        return self.cache.get(medium)

    def _load(self, medium: Medium, is_whole: bool) -> np.ndarray:
        """Decodes an image; pixels of files are kept in memory while there is room, since training needs them again."""
        key = (medium.key, is_whole)
        pixels = self._kept.get(key)
        if pixels is None:
            side = self.transform.size
            pixels = image_files.load(medium, size_hint=None if is_whole else (side, side))
            if isinstance(medium.source, Path):
                self._kept.add(key, pixels)
        return pixels


class _Kept:
    """A thread-safe store of decoded pixels by key, with a maximum size in bytes."""

    def __init__(self) -> None:
        self._pixels: dict[tuple[str, bool], np.ndarray] = {}
        self._bytes = 0
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Kept, ()  # a copy starts empty

    def get(self, key: tuple[str, bool]) -> np.ndarray | None:
        return self._pixels.get(key)

    def add(self, key: tuple[str, bool], pixels: np.ndarray) -> None:
        """Stores pixels, unless they are already stored or there is no room."""
        with self._lock:
            if key not in self._pixels and self._bytes + pixels.nbytes <= _KEPT_BYTES:
                self._pixels[key] = pixels
                self._bytes += pixels.nbytes


def _fetched(medium: Medium) -> Medium:
    """A copy of a medium whose source function, if any, is replaced by its result, so that other threads can decode it."""
    if not callable(medium.source):
        return medium
    return dataclasses.replace(medium, source=medium.source())
