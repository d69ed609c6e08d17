"""The interface of encoders."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import Features


class Encoder(nn.Module):
    """Base class of encoders: values of media to a grid of features.

    Most media have one size: images are resized to a square. An encoder of media of any size sets `stride`; it is then
    called with media of one size at a time, so it needs neither padding nor a mask.
    """

    dim: int
    """Width Dv of its features."""
    image_size: int
    """Side of the square image that it reads, in pixels; other media have none."""
    stride: tuple[int, ...] = ()
    """If the number of features depends on the size of the medium: how many values along each axis become one feature. The
    last feature along an axis may cover fewer. Empty means that all media have the same grid."""

    def grid(self, size: Sequence[int] | None = None) -> tuple[int, int, int]:
        """Times, rows and columns of the features, known before anything is decoded.

        Args:
            size: Number of a medium's values along each axis except the channels; None means the largest medium.
        """
        raise NotImplementedError(type(self).__name__)

    def forward(self, values: Float[Tensor, "I C *size"]) -> Features:
        """Encodes media of one size."""
        raise NotImplementedError(type(self).__name__)
