"""Convolutional blocks shared by the CNN and the stem of the ViT."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

ChannelNorm = Literal["group", "batch"]


def channel_norm(kind: ChannelNorm, channels: int) -> nn.Module:
    """A norm over the positions of one image and about 16 channels (``group``), or over the batch (``batch``).

    Batch statistics mix images, so that in training a packed batch is no longer equivalent to separate ones.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)

    if kind == "group":
        # The largest number of groups that divides the channels, with 16 channels or slightly more in each.
        groups = next(count for count in range(max(1, channels // 16), 0, -1) if channels % count == 0)
        return nn.GroupNorm(groups, channels)

    raise ValueError(f"the norm of a convolution must be 'group' or 'batch' (got {kind!r}).")


class Downsample(nn.Module):
    """A 3x3 convolution with stride 2, norm and GELU, which halves rows and columns.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        norm: Kind of norm: ``group`` or ``batch``.
    """

    def __init__(self, inputs: int, outputs: int, *, norm: ChannelNorm) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm = channel_norm(norm, outputs)

    def forward(self, x: Float[Tensor, "I C H W"]) -> Float[Tensor, "I K h w"]:
        """Halves the grid, rounding up."""
        return F.gelu(self.norm(self.convolution(x)))


class Residual(nn.Module):
    """A residual block ``x + conv(gelu(norm(conv(x))))`` with 3x3 kernels: ResNet's basic block (arXiv:1512.03385).

    Args:
        channels: Number of input and output channels.
        norm: Kind of norm: ``group`` or ``batch``.
    """

    def __init__(self, channels: int, *, norm: ChannelNorm) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = channel_norm(norm, channels)
        self.down = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "I C H W"]) -> Float[Tensor, "I C H W"]:
        """Adds the output of the two convolutions."""
        return x + self.down(F.gelu(self.norm(self.inner(x))))  # type: ignore[no-any-return]  # nn.Module calls are untyped


def to_channels_last(pixels: Float[Tensor, "I C H W"]) -> Float[Tensor, "I C H W"]:
    """The same pixels in the memory layout in which convolutions are fastest, on CPUs and GPUs."""
    return pixels.contiguous(memory_format=torch.channels_last)
