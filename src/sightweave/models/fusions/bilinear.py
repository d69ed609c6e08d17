"""Bilinear pooling: products of the question vector and the image vector, for answer classification.

MUTAN (Ben-younes et al. 2017, arXiv:1705.06676); with rank 1 it is MLB (Kim et al. 2016, arXiv:1610.04325). Differs
from the paper: the image vector is computed by attention with the question as the query, as in the second form of MLB.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.core.batch import MediaEmbeddings, TokenSequence
from sightweave.core.config import config
from sightweave.models.fusions._base import Fusion, plain_media, plain_tokens
from sightweave.models.nn.attention import Attention
from sightweave.models.nn.init import draw, initialise
from sightweave.models.nn.mask import Mask, memory_mask
from sightweave.models.nn.norm import RMSNorm


@config
class Config:
    """Options of bilinear pooling."""

    rank: int = 4
    """Number R of products that are summed; 1 is MLB."""
    hidden_dim: int | None = None
    """Width of the products; None means the width of the language model."""

    @staticmethod
    def part() -> type[Bilinear]:
        """The class that `build` instantiates, so that its declarations can be read without an instance."""
        return Bilinear

    def build(self, *, dim: int, num_heads: int, depth: int) -> Bilinear:
        """Builds the fusion for a language model with this width and number of heads."""
        return Bilinear(dim=dim, num_heads=num_heads, rank=self.rank, hidden_dim=self.hidden_dim or dim)


class Bilinear(Fusion):
    """Computes ``z = q + W sum_r tanh(Wq_r q) * tanh(Wv_r v)``, where v is the result of q's attention to the media.

    Args:
        dim: Width D of the language model.
        num_heads: Number of heads of the attention that pools the media.
        rank: Number R of products.
        hidden_dim: Width of each product.

    Raises:
        ValueError: `rank` is below 1.
    """

    places: ClassVar[frozenset[str]] = frozenset({"pool"})

    def __init__(self, *, dim: int, num_heads: int, rank: int, hidden_dim: int) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"bilinear rank must be 1 or more (got {rank}).")
        self.rank = rank

        self.media_norm = RMSNorm(dim)
        self.attention = Attention(dim, num_heads)
        self.question = nn.Linear(dim, rank * hidden_dim)
        self.image = nn.Linear(dim, rank * hidden_dim)
        self.product = nn.Linear(hidden_dim, dim)
        initialise(self)
        draw(self.attention.out.weight, std=dim**-0.5)

    def pool(
        self,
        pooled: Float[Tensor, "R D"],
        at: Int[Tensor, " R"],
        tokens: TokenSequence,
        media: MediaEmbeddings | None,
    ) -> Float[Tensor, "R D"]:
        """Adds products of each question vector and the result of its attention to the media of its row."""
        if media is None:
            return pooled

        # Let each question attend to the media of its row.
        seen = media.per_row(len(tokens.ids))
        mask = memory_mask(tokens, seen)
        assert mask.dense is not None
        assert mask.blind_rows is not None
        row = at // tokens.ids.shape[1]
        mine = Mask(dense=mask.dense[:, 0].flatten(0, 1)[at][:, None, None])  # R 1 1 M
        keys, values = self.attention.keys_values(self.media_norm(seen.hidden))
        image = self.attention(pooled[:, None], mine, memory=(keys[row], values[row]))[:, 0]  # R D

        products = torch.tanh(self.question(pooled)) * torch.tanh(self.image(image))
        joined = self.product(torch.unflatten(products, -1, (self.rank, -1)).sum(1))
        blind = mask.blind_rows[:, 0].flatten(0, 1)[at]
        return pooled + joined.masked_fill(blind, 0.0)  # type: ignore[no-any-return]  # nn.Module calls are untyped

    def forward(self, text: Float[Tensor, "B D"], image: Float[Tensor, "B N D"]) -> Float[Tensor, "B D"]:
        """Fuses plain tensors, with one question vector and one image per row."""
        tokens = plain_tokens(text[:, None])
        return self.pool(text, torch.arange(len(text), device=text.device), tokens, plain_media(image))
