"""A single linear map of each feature.

Visual Instruction Tuning (LLaVA, Liu et al. 2023, arXiv:2304.08485).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.models.connectors._base import Connector, Grid
from sightweave.models.nn.init import initialise


@config
class Config:
    """Options of the linear connector."""

    bias: bool = True
    """Whether the map has a bias."""

    def build(self, *, in_dim: int, out_dim: int, grid: Grid) -> Linear:
        """Builds the connector from width `in_dim` to width `out_dim`."""
        return Linear(in_dim=in_dim, out_dim=out_dim, bias=self.bias)


class Linear(Connector):
    """A linear map ``E = V W + b``, with one embedding per feature.

    Args:
        in_dim: Width Dv of the features.
        out_dim: Language width D.
        bias: Whether there is a bias.
    """

    def __init__(self, *, in_dim: int, out_dim: int, bias: bool = True) -> None:
        super().__init__()
        self.projection = nn.Linear(in_dim, out_dim, bias=bias)
        initialise(self)

    def out_grid(self, grid: Grid) -> Grid | None:
        """The encoder's grid, unchanged."""
        return grid

    def forward(self, features: Features) -> Float[Tensor, "I Q D"]:
        """Maps features to embeddings."""
        return self.projection(features.values)  # type: ignore[no-any-return]  # nn.Module calls are untyped
