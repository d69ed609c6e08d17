"""Convolutional image encoder: a pyramid of strided convolutions and residual blocks.

Deep Residual Learning for Image Recognition (He et al. 2015, arXiv:1512.03385). Differs from the paper: GELU, a norm
that never mixes images, and position embeddings at the end, because convolutions alone hardly encode absolute
positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.batch import Features
from sightweave.core.config import config
from sightweave.models.encoders._base import Encoder
from sightweave.models.nn.convolution import ChannelNorm, Downsample, Residual, to_channels_last
from sightweave.models.nn.init import initialise
from sightweave.models.nn.norm import RMSNorm
from sightweave.models.nn.position import fourier_grid


@config
class Config:
    """Sizes of the convolutional encoder."""

    image_size: int = 96
    """Side of the input image, in pixels."""
    channels: tuple[int, ...] = (32, 64, 128, 128)
    """Width of each stage; each halves the grid."""
    blocks: tuple[int, ...] = (0, 0, 0, 1)
    """Number of residual blocks after each stage."""
    norm: ChannelNorm = "group"
    """Normalisation: group, or batch (which mixes the images of a batch during training)."""

    def build(self) -> Cnn:
        """Builds the encoder."""
        return Cnn(image_size=self.image_size, channels=self.channels, blocks=self.blocks, norm=self.norm)


class Cnn(Encoder):
    """Maps images to a grid with one feature per square of ``2 ** stages`` pixels a side.

    Args:
        image_size: Side of the input image, in pixels.
        channels: Width of each stage; the last is Dv.
        blocks: Number of residual blocks after each stage.
        norm: Kind of normalisation.

    Raises:
        ValueError: `channels` and `blocks` have different numbers of stages, or none.
    """

    places: Tensor

    def __init__(
        self,
        *,
        image_size: int,
        channels: tuple[int, ...],
        blocks: tuple[int, ...],
        norm: ChannelNorm = "group",
    ) -> None:
        super().__init__()
        if len(channels) != len(blocks) or not channels:
            raise ValueError(
                f"channels {channels} and blocks {blocks} must have the same number of stages, at least one."
            )
        self.image_size, self.dim = image_size, channels[-1]

        layers: list[nn.Module] = []
        for inputs, outputs, count in zip((3, *channels), channels, blocks, strict=False):
            layers.append(Downsample(inputs, outputs, norm=norm))
            layers.extend(Residual(outputs, norm=norm) for _ in range(count))
        self.stages = nn.Sequential(*layers)

        side = image_size
        for _ in channels:
            side = -(-side // 2)
        self.side = side

        self.norm = RMSNorm(self.dim)
        self.register_buffer("places", fourier_grid(side, side))
        self.place = nn.Linear(self.places.shape[1], self.dim)
        self.place_table = nn.Parameter(torch.zeros(side * side, self.dim))
        initialise(self)

    def grid(self, size: Sequence[int] | None = None) -> tuple[int, int, int]:
        """The grid (1, `side`, `side`), which is the same for all images."""
        return (1, self.side, self.side)

    def forward(self, pixels: Float[Tensor, "I 3 Hp Wp"]) -> Features:
        """Encodes images."""
        grid = self.stages(to_channels_last(pixels))  # I Dv h w
        values = self.norm(grid.flatten(2).transpose(1, 2).contiguous())  # I N Dv
        return Features(values + self.place(self.places) + self.place_table, self.grid())
