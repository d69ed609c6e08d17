"""Convolutional blocks shared by the CNN and by the ViT's stem."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

ChannelNorm = Literal["group", "batch"]


def channel_norm(kind: ChannelNorm, channels: int) -> nn.Module:
    """``group``: over one picture's positions and some 16 channels at a time; ``batch``: over the batch.

    Batch statistics mix pictures, so with them a packed batch no longer equals separate ones while training.

    Raises:
        ValueError: another word.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        # As many groups as divide the channels evenly, with 16 channels or a little more in each.
        groups = next(count for count in range(max(1, channels // 16), 0, -1) if channels % count == 0)
        return nn.GroupNorm(groups, channels)
    raise ValueError(f"the norm of a convolution must be 'group' or 'batch' (got {kind!r}).")


class Downsample(nn.Module):
    """3x3 convolution with stride 2, norm and GELU: half the rows and columns.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        norm: Norm of the channels.
    """

    def __init__(self, inputs: int, outputs: int, *, norm: ChannelNorm) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm = channel_norm(norm, outputs)

    def forward(self, x: Float[Tensor, "I C H W"]) -> Float[Tensor, "I K h w"]:
        """Halves the grid, rounding up."""
        return F.gelu(self.norm(self.convolution(x)))


class Residual(nn.Module):
    """``x + conv(gelu(norm(conv(x))))`` with 3x3 kernels: ResNet's basic block (He et al. 2015, arXiv:1512.03385).

    Args:
        channels: Channels in and out.
        norm: Norm of the channels.
    """

    def __init__(self, channels: int, *, norm: ChannelNorm) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = channel_norm(norm, channels)
        self.down = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "I C H W"]) -> Float[Tensor, "I C H W"]:
        """Adds what the two convolutions find."""
        return x + self.down(F.gelu(self.norm(self.inner(x))))  # type: ignore[no-any-return]  # nn.Module calls are untyped


def to_channels_last(pixels: Float[Tensor, "I C H W"]) -> Float[Tensor, "I C H W"]:
    """The memory order in which convolutions are fastest, on CPUs and GPUs."""
    return pixels.contiguous(memory_format=torch.channels_last)
