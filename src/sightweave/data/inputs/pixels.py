"""Media -> the pixels of a batch: each picture read once, in this thread or in several, with the same bits."""

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
"""Decoded pixels that are kept at most."""


class PixelLoader:
    """Loads and transforms the media of a batch; several threads may call it.

    Args:
        transform: Makes a tensor of a picture's pixels.
        is_whole: Decode every picture at full scale, and not only those that are cut into tiles.
        cache: Resized pixels of this transform, used where nothing varies.
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
        """The tensors, and width and height in pixels of each medium.

        Args:
            media: Any; equal keys, and all tiles of a picture, are decoded once.
            seeds: Vary each picture; None leaves all as they are.
            fixed: Keys of pictures that are not mirrored. Those that are cut into tiles never are.
            pool: Threads that decode; they change no bit. None does it here. They leave torch to this thread, since
                its own threads, once for each of them, would be more than there are cores.

        Raises:
            MediaError: a picture cannot be read; with several, the first of them.
        """
        parents = [tiling.whole(medium) for medium in media]
        cut = {p.key for p, medium in zip(parents, media, strict=True) if isinstance(medium.source, Tile)}
        cached = [self._cached(m, p.key in cut, seeds) for m, p in zip(media, parents, strict=True)]
        wanted = list({p.key: p for p, known in zip(parents, cached, strict=True) if known is None}.values())
        decoded = self._decoded(wanted, cut, pool)
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
        """Keys and pixels in order, each decoded when it is asked for, or ahead by the threads."""
        if pool is not None:
            # Functions that draw, or read from a larger file, are called in this thread: they need know of no others.
            media = [_fetched(medium) for medium in media]
            # Where nothing is to be decoded, handing work over costs more than the work.
            pool = pool if any(isinstance(one.source, Path | bytes) for one in media) else None
        over = map if pool is None else pool.map
        pixels = over(lambda one: self._load(one, self.is_whole or one.key in cut), media)
        return zip((one.key for one in media), pixels, strict=True)

    def _cached(self, medium: Medium, is_cut: bool, seeds: Sequence[int] | None) -> Resized | None:
        """Resized pixels, where the cache has them and they may be used: it holds one scale, and no variations."""
        if seeds is not None or self.cache is None or (is_cut and not self.is_whole):
            return None
        return self.cache.get(medium)

    def _load(self, medium: Medium, is_whole: bool) -> np.ndarray:
        """Decoded pixels; those of files are kept while they are few, since training meets them again."""
        key = (medium.key, is_whole)
        pixels = self._kept.get(key)
        if pixels is None:
            side = self.transform.size
            pixels = image_files.load(medium, size_hint=None if is_whole else (side, side))
            if isinstance(medium.source, Path):
                self._kept.add(key, pixels)
        return pixels


class _Kept:
    """Decoded pixels by key, up to a number of bytes; any thread may ask and add."""

    def __init__(self) -> None:
        self._pixels: dict[tuple[str, bool], np.ndarray] = {}
        self._bytes = 0
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Kept, ()  # a copy starts empty

    def get(self, key: tuple[str, bool]) -> np.ndarray | None:
        return self._pixels.get(key)

    def add(self, key: tuple[str, bool], pixels: np.ndarray) -> None:
        """Keeps them, unless they are kept or there is no room."""
        with self._lock:
            if key not in self._pixels and self._bytes + pixels.nbytes <= _KEPT_BYTES:
                self._pixels[key] = pixels
                self._bytes += pixels.nbytes


def _fetched(medium: Medium) -> Medium:
    """A medium whose function was called; what it gave is decoded later, perhaps in another thread."""
    if not callable(medium.source):
        return medium
    return dataclasses.replace(medium, source=medium.source())
