"""Lets a fixed number of learnt queries attend to the features, so that all media have the same number of embeddings.

Flamingo: a Visual Language Model for Few-Shot Learning (Alayrac et al. 2022, arXiv:2204.14198), section 3.1.1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.models.connectors._base import Connector, Grid
from sightweave.models.nn.attention import Attention
from sightweave.models.nn.feed_forward import FeedForward
from sightweave.models.nn.init import draw, initialise
from sightweave.models.nn.mask import Mask
from sightweave.models.nn.norm import RMSNorm


@config
class Config:
    """Options of the resampler."""

    num_queries: int = 16
    """Number of learnt queries, which is the number of embeddings per image."""
    depth: int = 2
    """Number of layers."""
    num_heads: int = 4
    """Number of attention heads; must divide the language width."""

    def build(self, *, in_dim: int, out_dim: int, grid: Grid) -> Resampler:
        """Builds the connector from width `in_dim` to width `out_dim`."""
        return Resampler(
            in_dim=in_dim,
            out_dim=out_dim,
            num_queries=self.num_queries,
            depth=self.depth,
            num_heads=self.num_heads,
        )


class Resampler(Connector):
    """Repeats ``X = X + attend(norm(X), [norm(V); norm(X)])``, ``X = X + ff(norm(X))``; X starts as learnt queries.

    Args:
        in_dim: Width Dv of the features.
        out_dim: Language width D.
        num_queries: Number Q of queries, and so of embeddings.
        depth: Number of layers.
        num_heads: Number of attention heads.

    Raises:
        ValueError: there are no queries, or the number of heads does not divide the width.
    """

    def __init__(self, *, in_dim: int, out_dim: int, num_queries: int, depth: int, num_heads: int) -> None:
        super().__init__()
        if num_queries < 1:
            raise ValueError(f"resampler num_queries must be 1 or more (got {num_queries}).")

        self.num_queries = num_queries
        self.queries = nn.Parameter(torch.empty(num_queries, out_dim))
        self.inputs = nn.Linear(in_dim, out_dim)
        self.layers = nn.ModuleList(_Layer(out_dim, num_heads) for _ in range(depth))
        self.norm = RMSNorm(out_dim)
        initialise(self)
        draw(self.queries, std=1.0)

    def out_grid(self, grid: Grid) -> Grid | None:
        """None, because queries do not correspond to positions in the image."""
        return None

    def num_tokens(self, grid: Grid) -> int:
        """The number of queries."""
        return self.num_queries

    def forward(self, features: Features) -> Float[Tensor, "I Q D"]:
        """Lets the queries attend to the features."""
        inputs = self.inputs(features.values)
        hidden = self.queries.expand(len(inputs), -1, -1)
        for layer in self.layers:
            hidden = layer(hidden, inputs)
        return self.norm(hidden)  # type: ignore[no-any-return]  # nn.Module calls are untyped


class _Layer(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.query_norm, self.input_norm, self.feed_forward_norm = RMSNorm(dim), RMSNorm(dim), RMSNorm(dim)
        self.attention = Attention(dim, num_heads)
        self.feed_forward = FeedForward(dim, 4 * dim, form="gelu")

    def forward(
        self, hidden: Float[Tensor, "I Q D"], inputs: Float[Tensor, "I N D"]
    ) -> Float[Tensor, "I Q D"]:
        queries = self.query_norm(hidden)
        seen = torch.cat([self.input_norm(inputs), queries], 1)
        hidden = hidden + self.attention(queries, Mask(), memory=self.attention.keys_values(seen))
        return hidden + self.feed_forward(self.feed_forward_norm(hidden))  # type: ignore[no-any-return]  # nn.Module calls are untyped
