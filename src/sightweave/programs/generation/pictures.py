"""Images of prompts -> embeddings: each image is encoded once and, if the caller wants that, cached for later calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from sightweave.core.batch import Batch
from sightweave.core.types import Medium
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.prompts import Prompts, pictures
from sightweave.data.inputs.tiles import Tile
from sightweave.models.vlm import VLM


class MediaMemory:
    """A cache of image embeddings, for callers that show the same images to the same model again.

    Entries are keyed by the `Medium` object and not by its key, which may name another image in another call. The oldest
    entries are dropped when the cache is full. Tiles are not cached: each call cuts them into new objects.

    Args:
        max_bytes: Size of all embeddings together.
    """

    def __init__(self, max_bytes: int = 256 << 20) -> None:
        self.max_bytes = max_bytes
        self._held: dict[Medium, Tensor] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return MediaMemory, (self.max_bytes,)  # a copy starts empty

    def get(self, medium: Medium) -> Tensor | None:
        """The embeddings Q D of an image; None if they are not cached."""
        return self._held.get(medium)

    def keep(self, media: Sequence[Medium], embeddings: Tensor) -> None:
        """Caches the embeddings I Q D of images."""
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
def with_pictures(model: VLM, processor: Processor, prompts: Prompts, memory: MediaMemory | None) -> Batch:
    """Prompts as a batch on the model's device, with the embeddings of their images."""
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
) -> Tensor:
    """I Q D: embeddings of images; those that the memory does not hold are encoded, a few at a time."""
    known = [None if memory is None else memory.get(medium) for medium in media]
    new = [medium for medium, held in zip(media, known, strict=True) if held is None]

    made: Iterator[Tensor] = iter(())
    if new:
        pixels = processor.pixels(new)
        at_once = max(1, _PIXELS // pixels[0].numel())
        parts = [_encoded(model, part.to(device)) for part in torch.split(pixels, at_once)]
        embeddings = parts[0] if len(parts) == 1 else torch.cat(parts)
        if memory is not None:
            memory.keep(new, embeddings)
        if len(new) == len(media):
            return embeddings
        made = iter(embeddings)

    return torch.stack([next(made) if held is None else held for held in known])


_PIXELS = 1 << 23
"""Most pixel values that are encoded at once, 32 MB in fp32; an encoder's activations are some dozen times as large."""


def _encoded(model: VLM, pixels: Tensor) -> Tensor:
    """I Q D: embeddings of images (I C H W)."""
    found = model(Batch(target=None, media=pictures(pixels))).media
    return found.embeddings.reshape(len(pixels), -1, found.embeddings.shape[-1])  # type: ignore[no-any-return]  # nn.Module calls are untyped
