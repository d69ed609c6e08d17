"""What every image encoder offers."""

from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import Features
from sightweave.core.types import MediumInfo


class Encoder(nn.Module):
    """The face of an image encoder: pixels in, a grid of features out."""

    dim: int
    """Width Dv of its features."""
    image_size: int
    """Side of the square picture that it reads, in pixels."""

    def grid(self, info: MediumInfo | None = None) -> tuple[int, int, int]:
        """Times, rows and columns of the features, known before any pixel is decoded."""
        raise NotImplementedError(type(self).__name__)

    def forward(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> Features:
        """Encodes pictures."""
        raise NotImplementedError(type(self).__name__)
