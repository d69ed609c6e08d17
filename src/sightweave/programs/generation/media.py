"""Computes the embeddings of prompts' media: each is encoded once, a few at a time, and optionally cached."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sightweave.core.batch import Batch
from sightweave.core.types import Medium
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.prompts import Prompts, placed
from sightweave.data.inputs.tiles import Tile
from sightweave.models.vlm import VLM


class MediaMemory:
    """A cache of media embeddings, for callers that use the same media with the same model repeatedly.

    Entries are keyed by the `Medium` object and not by its key, which may name another image in another call. The
    oldest entries are dropped when the cache is full. Tiles are not cached, because each call cuts them into new
    objects.

    Args:
        max_bytes: Maximum size of all embeddings together.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self.max_bytes = max_bytes
        self._held: dict[Medium, Tensor] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return MediaMemory, (self.max_bytes,)  # a copy starts empty

    def get(self, medium: Medium) -> Tensor | None:
        """The embeddings (Q D) of a medium; None if they are not cached."""
        return self._held.get(medium)

    def keep(self, media: Sequence[Medium], embeddings: Sequence[Tensor]) -> None:
        """Caches the embeddings (Q D) of each medium."""
        with self._lock:
            for medium, made in zip(media, embeddings, strict=True):
                size = made.numel() * made.element_size()
                if isinstance(medium.source, Tile) or medium in self._held or size > self.max_bytes:
                    continue
                self._held[medium] = made.clone()
                self._bytes += size
                while self._bytes > self.max_bytes:
                    oldest = self._held.pop(next(iter(self._held)))
                    self._bytes -= oldest.numel() * oldest.element_size()


@torch.inference_mode()
def with_media(model: VLM, processor: Processor, prompts: Prompts, memory: MediaMemory | None) -> Batch:
    """A batch of prompts on the model's device, with the embeddings of their media."""
    device = next(model.parameters()).device
    prompts = prompts.to(device)
    if not prompts.media:
        return prompts.batch()
    return prompts.batch(_embedded(model, processor, prompts.media, device, memory))


def _embedded(
    model: VLM,
    processor: Processor,
    media: Sequence[Medium],
    device: torch.device,
    memory: MediaMemory | None,
) -> list[Tensor]:
    """The embeddings (Q D) of each medium; those that are not cached are encoded now, a few at a time."""
    found: dict[int, Tensor] = {}
    if memory is not None:
        for number, medium in enumerate(media):
            held = memory.get(medium)
            if held is not None:
                found[number] = held

    new = [number for number in range(len(media)) if number not in found]
    if new:
        unread = [media[number] for number in new]
        made = _encoded(model, processor, unread, device)
        found.update(zip(new, made, strict=True))
        if memory is not None:
            memory.keep(unread, made)
    return [found[number] for number in range(len(media))]


_VALUES = 1 << 23
"""Maximum number of values (of images: pixels times channels) that are encoded at once: 32 MB in fp32. An encoder's
activations are about a dozen times as large."""


def _encoded(model: VLM, processor: Processor, media: Sequence[Medium], device: torch.device) -> list[Tensor]:
    """Reads and encodes media; returns the embeddings (Q D) of each."""
    embedded: dict[int, Tensor] = {}
    for modality, (numbers, loaded) in processor.load_media(media).items():
        path = model.encoders.path(modality)
        values = loaded.values
        largest = max(one.numel() for one in values)
        at_once = max(1, _VALUES // largest)

        for start in range(0, len(numbers), at_once):
            some = values[start : start + at_once]
            some = some.to(device) if isinstance(some, Tensor) else tuple(one.to(device) for one in some)
            made = path(placed(some))
            counts = [len(made.embeddings) // len(some)] * len(some)
            if not isinstance(some, Tensor):
                counts = made.item.bincount(minlength=len(some)).tolist()
            embedded.update(zip(numbers[start : start + at_once], made.embeddings.split(counts), strict=True))
    return [embedded[number] for number in range(len(media))]
