"""The interface of connectors, which map a grid of features to embeddings of the language model's width."""

from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import Features

Grid = tuple[int, int, int]


class Connector(nn.Module):
    """Base class of connectors.

    A kind's ``Config.build(in_dim=, out_dim=, grid=)`` creates one from the encoder's width, the language model's width
    and the encoder's grid.
    """

    def out_grid(self, grid: Grid) -> Grid | None:
        """Times, rows and columns of the embeddings; None if the embeddings do not correspond to positions."""
        raise NotImplementedError(type(self).__name__)

    def num_tokens(self, grid: Grid) -> int:
        """Number Q of embeddings per medium, which is known before any medium is decoded."""
        times, rows, columns = self.out_grid(grid) or (0, 0, 0)
        return times * rows * columns

    def forward(self, features: Features) -> Float[Tensor, "I Q D"]:
        """Maps features to embeddings."""
        raise NotImplementedError(type(self).__name__)
