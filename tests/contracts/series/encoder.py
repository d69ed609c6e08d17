"""Series of numbers to features: one for every four numbers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.models.encoders._base import Encoder


@config
class Config:
    """Size of the encoder."""

    dim: int = 16
    """Width of its features."""

    def build(self) -> Series:
        """The encoder."""
        return Series(self.dim)


class Series(Encoder):
    """A strided convolution."""

    stride = (4,)

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.filters = dim, nn.Conv1d(1, dim, 4, stride=4)

    def grid(self, size: Sequence[int] | None = None) -> tuple[int, int, int]:
        """One feature for every four numbers."""
        return (-(-(size[0] if size else 40) // 4), 1, 1)

    def forward(self, values: Tensor) -> Features:
        """Encodes series of one length, float I 1 T."""
        padded = nn.functional.pad(values, (0, -values.shape[-1] % 4))
        return Features(self.filters(padded).transpose(1, 2), self.grid(values.shape[2:]))
