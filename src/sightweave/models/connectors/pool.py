"""Averages neighbouring features, then maps them linearly: fewer embeddings, which still correspond to positions.

Honeybee: Locality-enhanced Projector (Cha et al. 2023, arXiv:2312.06742) compares such poolings; Gemma 3 uses an
average.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.models.connectors._base import Connector, Grid
from sightweave.models.nn.init import initialise


@config
class Config:
    """Options of the pooling connector."""

    side: int = 3
    """Number of rows and columns after pooling; 1 gives one embedding per image."""

    def build(self, *, in_dim: int, out_dim: int, grid: Grid) -> Pool:
        """Builds the connector from width `in_dim` to width `out_dim`.

        Raises:
            ValueError: the pooled grid would be larger than the encoder's.
        """
        if self.side > min(grid[1:]):
            raise ValueError(f"pool side {self.side} is larger than the grid {grid[1]} x {grid[2]}.")
        return Pool(in_dim=in_dim, out_dim=out_dim, side=self.side)


class Pool(Connector):
    """Adaptive average pooling to ``side x side``, then a linear map.

    Args:
        in_dim: Width Dv of the features.
        out_dim: Language width D.
        side: Rows and columns after pooling.

    Raises:
        ValueError: `side` is below 1.
    """

    def __init__(self, *, in_dim: int, out_dim: int, side: int) -> None:
        super().__init__()
        if side < 1:
            raise ValueError(f"pool side must be 1 or more (got {side}).")

        self.side = side
        self.projection = nn.Linear(in_dim, out_dim)
        initialise(self)

    def out_grid(self, grid: Grid) -> Grid | None:
        """The same number of times, each with `side` rows and columns."""
        return (grid[0], self.side, self.side)

    def forward(self, features: Features) -> Float[Tensor, "I Q D"]:
        """Pools the features, then maps them."""
        times, rows, columns = features.grid
        count = len(features.values)

        x = torch.unflatten(features.values, 1, (times, rows, columns))  # I t h w Dv
        x = x.flatten(0, 1).permute(0, 3, 1, 2)  # It Dv h w
        pooled = F.adaptive_avg_pool2d(x, self.side).flatten(2).transpose(1, 2)  # It q Dv
        return self.projection(pooled.reshape(count, -1, pooled.shape[-1]))  # type: ignore[no-any-return]  # nn.Module calls are untyped
