"""The interface of encoders, which compute a grid of features from media."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import Features


class Encoder(nn.Module):
    """Base class of encoders.

    Most media have one size, because images are resized to a square. An encoder for media of any size sets `stride`; it
    is then called with media of one size at a time, so it needs neither padding nor a mask.
    """

    dim: int
    """Width Dv of its features."""
    image_size: int
    """Side of the square input image, in pixels; not set for other media."""
    stride: tuple[int, ...] = ()
    """For media of any size, the number of values along each axis that become one feature. The last feature along an
    axis may cover fewer values. Empty means that all media have the same grid."""

    def grid(self, size: Sequence[int] | None = None) -> tuple[int, int, int]:
        """Times, rows and columns of the features, which are known before any medium is decoded.

        Args:
            size: Number of a medium's values along each axis except the channels; None means the largest medium.
        """
        raise NotImplementedError(type(self).__name__)

    def forward(self, values: Float[Tensor, "I C *size"]) -> Features:
        """Encodes I media of one size."""
        raise NotImplementedError(type(self).__name__)
