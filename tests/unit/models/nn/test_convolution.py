"""Norms of channels, halving and residual blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sightweave.models.nn.convolution import Downsample, Residual, channel_norm


@pytest.mark.parametrize("channels", [1, 3, 8, 16, 24, 40, 50, 100, 128])
def test_the_norm_of_channels_takes_any_number_of_them(channels: int) -> None:
    norm = channel_norm("group", channels)
    assert channels % norm.num_groups == 0
    assert norm.num_groups <= max(1, channels // 16)
    assert norm(torch.randn(2, channels, 3, 3)).shape == (2, channels, 3, 3)


def test_groups_of_sixteen_where_they_divide() -> None:
    assert channel_norm("group", 64).num_groups == 4
    assert isinstance(channel_norm("batch", 8), nn.BatchNorm2d)
    with pytest.raises(ValueError, match="'group' or 'batch' \\(got 'layer'\\)"):
        channel_norm("layer", 8)


@pytest.mark.parametrize("side", [1, 4, 5])
def test_downsampling_halves_rounding_up(side: int) -> None:
    assert Downsample(3, 8, norm="group")(torch.randn(1, 3, side, side)).shape[-1] == -(-side // 2)


def test_a_residual_block_adds() -> None:
    torch.manual_seed(0)
    block = Residual(8, norm="group")
    x = torch.randn(1, 8, 4, 4)
    inner = F.gelu(block.norm(F.conv2d(x, block.inner.weight, padding=1)))
    torch.testing.assert_close(
        block(x), x + F.conv2d(inner, block.down.weight, padding=1), atol=1e-5, rtol=1e-5
    )
