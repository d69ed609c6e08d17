"""What every connector offers: from an encoder's grid to embeddings as wide as the language model."""

from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import Features

Grid = tuple[int, int, int]


class Connector(nn.Module):
    """The face of a connector.

    A kind's ``Config.build(in_dim=, out_dim=, grid=)`` makes it for an encoder's width and grid and a language width.
    """

    def out_grid(self, grid: Grid) -> Grid | None:
        """Times, rows and columns of what it gives; None where its embeddings stand for no places."""
        raise NotImplementedError(type(self).__name__)

    def num_tokens(self, grid: Grid) -> int:
        """Embeddings Q for one medium, exact before anything is decoded."""
        times, rows, columns = self.out_grid(grid) or (0, 0, 0)
        return times * rows * columns

    def forward(self, features: Features) -> Float[Tensor, "I Q D"]:
        """Maps features to embeddings."""
        raise NotImplementedError(type(self).__name__)
