"""Joins image embeddings with the encoder's memory of the text, so that the decoder attends to both.

Unifying Vision-and-Language Tasks via Text Generation (VL-T5, Cho et al. 2021, arXiv:2102.02779) joins them by
concatenation; addition and attention are two older methods of multimodal translation (Calixto et al. 2017,
arXiv:1701.06521).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import MediaEmbeddings, Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.config import config
from sightweave.models.fusions._base import Fusion, plain_media, plain_tokens
from sightweave.models.nn.attention import Attention
from sightweave.models.nn.init import initialise
from sightweave.models.nn.mask import memory_mask
from sightweave.models.nn.norm import RMSNorm

Join = Literal["concatenate", "add", "attend"]


@config
class Config:
    """Options of the memory fusion."""

    join: Join = "concatenate"
    """Way of combining the memories of text and media: concatenate (as one sequence), add (the mean of the media is
    added to the text's memory) or attend (the text's memory attends to the media)."""

    @staticmethod
    def part() -> type[MemoryFusion]:
        """The class that `build` instantiates, so that its declarations can be read without an instance."""
        return MemoryFusion

    def build(self, *, dim: int, num_heads: int, depth: int) -> MemoryFusion:
        """Builds the fusion for a language model with this width and number of heads."""
        return MemoryFusion(dim=dim, num_heads=num_heads, join=self.join)


class MemoryFusion(Fusion):
    """Combines the text's memory ``B M D`` with the media of the same row, segment and branch.

    Args:
        dim: Width D of the language model.
        num_heads: Number of attention heads, used by ``attend``.
        join: Way of combining: ``concatenate``, ``add`` or ``attend``.

    Raises:
        ValueError: `join` is unknown.
    """

    places: ClassVar[frozenset[str]] = frozenset({"memory"})

    def __init__(self, *, dim: int, num_heads: int, join: Join = "concatenate") -> None:
        super().__init__()
        if join not in ("concatenate", "add", "attend"):
            raise ValueError(f"memory join must be concatenate, add or attend (got {join!r}).")
        self.join = join
        self.media_norm = RMSNorm(dim)
        self.projection = nn.Linear(dim, dim) if join == "add" else None
        self.text_norm = RMSNorm(dim) if join == "attend" else None
        self.attention = Attention(dim, num_heads) if join == "attend" else None
        initialise(self)

    def memory(self, memory: Memory, media: MediaEmbeddings | None, cache: Cache | None) -> Memory:
        """Combines the memory of the text with the media."""
        if media is None:
            return memory

        seen = media.per_row(len(memory.hidden))
        images = self.media_norm(seen.hidden).to(memory.hidden.dtype)
        if self.join == "concatenate":
            return Memory(
                torch.cat([memory.hidden, images], 1),
                torch.cat([memory.segment, seen.segment], 1),
                torch.cat([memory.branch, seen.branch], 1),
                torch.cat([memory.valid, seen.valid], 1),
            )

        # The other ways of combining keep the text's length and add the result of each token's attention to the media.
        mask = memory_mask(_as_tokens(memory), seen)
        assert mask.dense is not None
        assert mask.blind_rows is not None
        if self.attention is not None and self.text_norm is not None:
            keys_values = self.attention.keys_values(images)
            joined = self.attention(self.text_norm(memory.hidden), mask, memory=keys_values)
        else:
            assert self.projection is not None
            weights = mask.dense[:, 0].to(images.dtype)  # B M_text M_media
            mean = weights @ images / weights.sum(2, keepdim=True).clamp(min=1)
            joined = self.projection(mean).masked_fill(mask.blind_rows[:, 0], 0.0)

        return Memory(memory.hidden + joined, memory.segment, memory.branch, memory.valid)

    def forward(self, text: Float[Tensor, "B S D"], image: Float[Tensor, "B N D"]) -> Float[Tensor, "B T D"]:
        """Combines plain tensors; `text` is an encoder's memory."""
        tokens = plain_tokens(text)
        memory = Memory(text, tokens.segment, tokens.branch, tokens.valid)
        return self.memory(memory, plain_media(image), None).hidden


def _as_tokens(memory: Memory) -> TokenSequence:
    """A memory as a token sequence, to compute the mask of its attention to the media."""
    tokens = plain_tokens(memory.hidden)
    tokens.segment, tokens.branch, tokens.valid = memory.segment, memory.branch, memory.valid
    return tokens
