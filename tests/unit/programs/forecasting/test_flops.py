"""Operations are counted as textbooks count them, and as torch's own counter does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from sightweave.programs.forecasting.flops import Flops, of_operator
from sightweave.programs.forecasting.simulation import Emulation, Recorder, backward

META = torch.device("meta")


def test_a_product_takes_a_multiplication_and_an_addition_for_each_pair() -> None:
    left, right = torch.empty(3, 5, device=META), torch.empty(5, 7, device=META)
    assert of_operator(torch.ops.aten.mm.default, (left, right), {}, left @ right) == 2 * 3 * 5 * 7
    assert of_operator(torch.ops.aten.add.Tensor, (left, left), {}, left + left) == 0


def test_a_convolution_is_a_product_for_each_output_pixel() -> None:
    layer = nn.Conv2d(3, 8, 3, stride=2, padding=1, device=META)
    pixels = torch.empty(2, 3, 16, 16, device=META)
    with Recorder() as recorder:
        layer(pixels)
    assert sum(one.flops for one in recorder.operators) == 2 * (2 * 8 * 8) * 8 * (3 * 3 * 3)


@pytest.mark.parametrize(("kv_heads", "is_masked"), [(4, False), (2, False), (2, True)])
def test_attention_counts_scores_and_sums_of_every_query_head(kv_heads: int, is_masked: bool) -> None:
    rows, heads, length, width = 2, 4, 10, 8
    queries = torch.empty(rows, heads, length, width, device=META, requires_grad=True)
    keys = torch.empty(rows, kv_heads, length, width, device=META, requires_grad=True)
    mask = torch.zeros(rows, 1, length, length, dtype=torch.bool) if is_masked else None

    with Recorder() as recorder, Emulation(is_bf16=False):
        out = F.scaled_dot_product_attention(
            queries, keys, keys, attn_mask=mask, is_causal=mask is None, enable_gqa=kv_heads < heads
        )
        forward = sum(one.flops for one in recorder.operators)
        backward(out.sum())
    total = sum(one.flops for one in recorder.operators)

    product = 2 * rows * heads * length * length * width
    assert out.shape == queries.shape
    assert forward == 2 * product  # scores, and sums of values
    assert total - forward == 5 * product  # scores again, and a gradient for each of four


def test_a_network_counts_as_in_torchs_counter() -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 32), nn.Linear(32, 5)
    )
    pixels = torch.randn(2, 3, 16, 16)
    with FlopCounterMode(display=False) as counter:
        layers(pixels).sum().backward()
    with Recorder() as recorder:
        layers(pixels).sum().backward()
    assert sum(one.flops for one in recorder.operators) == counter.get_total_flops() > 0


def test_flops_add_up() -> None:
    both = Flops(1, 2) + Flops(10, 20)
    assert (both, both.total) == (Flops(11, 22), 33)
