"""Concatenates squares of neighbouring features and maps them linearly: fewer embeddings, no information lost.

Building and better understanding vision-language models (Idefics3, Laurencon et al. 2024, arXiv:2408.12637).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.models.connectors._base import Connector, Grid
from sightweave.models.nn.init import initialise


@config
class Config:
    """Options of the pixel-shuffle connector."""

    factor: int = 2
    """Side of the square of features that is merged into one embedding; must divide the grid."""

    def build(self, *, in_dim: int, out_dim: int, grid: Grid) -> PixelShuffle:
        """Builds the connector from width `in_dim` to width `out_dim`.

        Raises:
            ValueError: the factor does not divide the grid.
        """
        made = PixelShuffle(in_dim=in_dim, out_dim=out_dim, factor=self.factor)
        made.num_tokens(grid)
        return made


class PixelShuffle(Connector):
    """Reduces the grid from ``h w`` to ``h/r w/r``; the width grows from Dv to ``r r Dv`` and is then mapped to D.

    Args:
        in_dim: Width Dv of the features.
        out_dim: Language width D.
        factor: Side r of the square.

    Raises:
        ValueError: `factor` is below 1, or does not divide the grid.
    """

    def __init__(self, *, in_dim: int, out_dim: int, factor: int = 2) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"pixel_shuffle factor must be 1 or more (got {factor}).")
        self.factor = factor
        self.projection = nn.Linear(in_dim * factor**2, out_dim, bias=False)
        initialise(self)

    def out_grid(self, grid: Grid) -> Grid | None:
        """The encoder's grid, with rows and columns divided by the factor.

        Raises:
            ValueError: the factor does not divide the grid.
        """
        times, rows, columns = grid
        if rows % self.factor or columns % self.factor:
            raise ValueError(
                f"pixel_shuffle factor {self.factor} does not divide the grid {rows} x {columns}."
            )
        return (times, rows // self.factor, columns // self.factor)

    def forward(self, features: Features) -> Float[Tensor, "I Q D"]:
        """Concatenates the features of each square, then maps them."""
        times, rows, columns = features.grid
        r = self.factor

        x = torch.unflatten(features.values, 1, (times, rows // r, r, columns // r, r))  # I t h r w r Dv
        x = x.transpose(3, 4).flatten(4)  # I t h w (r r Dv), with channels in the same order as in Idefics3
        return self.projection(x.flatten(1, 3))  # type: ignore[no-any-return]  # nn.Module calls are untyped
