"""Adds a pooled image vector to every text embedding. This is a baseline, because only global facts survive pooling.

Show and Tell (Vinyals et al. 2015, arXiv:1411.4555) similarly gives the decoder a single image vector.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import MediaEmbeddings, Memory, TokenSequence
from sightweave.core.cache import Cache
from sightweave.core.config import config
from sightweave.models.fusions._base import Fusion, plain_media, plain_tokens
from sightweave.models.nn.init import initialise
from sightweave.models.nn.mask import memory_mask
from sightweave.models.nn.norm import RMSNorm


@config
class Config:
    """Options of addition."""

    gate: float = 1.0
    """Initial factor of the image vector; 0 leaves a pretrained language model unchanged."""

    @staticmethod
    def part() -> type[Addition]:
        """The class that `build` instantiates, so that its declarations can be read without an instance."""
        return Addition

    def build(self, *, dim: int, num_heads: int, depth: int) -> Addition:
        """Builds the fusion for a language model of width `dim`."""
        return Addition(dim=dim, gate=self.gate)


class Addition(Fusion):
    """Adds the media to the text: ``h = h + gate * W norm(mean of the media that the token may attend to)``.

    Args:
        dim: Width D of the language model.
        gate: Initial value of the factor.
    """

    places: ClassVar[frozenset[str]] = frozenset({"input"})

    def __init__(self, *, dim: int, gate: float = 1.0) -> None:
        super().__init__()
        self.norm = RMSNorm(dim)
        self.projection = nn.Linear(dim, dim)
        self.gate = nn.Parameter(torch.tensor(gate))
        initialise(self)

    def input(
        self,
        hidden: Float[Tensor, "B S D"],
        tokens: TokenSequence,
        media: MediaEmbeddings | None,
        cache: Cache | None,
    ) -> Float[Tensor, "B S D"]:
        """Adds the pooled vector of the media to each token."""
        if media is not None:
            memory = media.per_row(len(hidden))
            if cache is not None:
                cache.slots["addition"] = (memory.hidden, memory.segment, memory.branch, memory.valid)
        elif cache is not None and "addition" in cache.slots:
            memory = Memory(*cache.slots["addition"])
        else:
            return hidden

        mask = memory_mask(tokens, memory)
        assert mask.dense is not None
        assert mask.blind_rows is not None
        weights = mask.dense[:, 0].to(hidden.dtype)  # B S M
        pooled = weights @ memory.hidden.to(hidden.dtype) / weights.sum(2, keepdim=True).clamp(min=1)

        added = self.gate * self.projection(self.norm(pooled))
        return hidden + added.masked_fill(mask.blind_rows[:, 0], 0.0)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def forward(self, text: Float[Tensor, "B S D"], image: Float[Tensor, "B N D"]) -> Float[Tensor, "B S D"]:
        """Fuses plain tensors, with one image per row."""
        return self.input(text, plain_tokens(text), plain_media(image), None)
