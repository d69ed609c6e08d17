"""A two-layer map of each feature: two linear maps with a GELU between them.

Improved Baselines with Visual Instruction Tuning (LLaVA-1.5, Liu et al. 2023, arXiv:2310.03744).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.models.connectors._base import Connector, Grid
from sightweave.models.nn.init import initialise


@config
class Config:
    """Options of the two-layer connector."""

    hidden_dim: int | None = None
    """Width between the two maps; None means the language width."""

    def build(self, *, in_dim: int, out_dim: int, grid: Grid) -> Mlp:
        """Builds the connector from width `in_dim` to width `out_dim`."""
        return Mlp(in_dim=in_dim, hidden_dim=self.hidden_dim or out_dim, out_dim=out_dim)


class Mlp(Connector):
    """A two-layer map ``E = gelu(V W1 + b1) W2 + b2``, with one embedding per feature.

    Args:
        in_dim: Width Dv of the features.
        hidden_dim: Width between the maps.
        out_dim: Language width D.
    """

    def __init__(self, *, in_dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_dim, hidden_dim)
        self.second = nn.Linear(hidden_dim, out_dim)
        initialise(self)

    def out_grid(self, grid: Grid) -> Grid | None:
        """The encoder's grid, unchanged."""
        return grid

    def forward(self, features: Features) -> Float[Tensor, "I Q D"]:
        """Maps features to embeddings."""
        return self.second(F.gelu(self.first(features.values)))  # type: ignore[no-any-return]  # nn.Module calls are untyped
