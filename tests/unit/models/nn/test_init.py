"""Initial weights follow the table in the file."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from sightweave.models.nn.block import Block
from sightweave.models.nn.init import initialise


def spread(layer: nn.Module) -> float:
    return float(layer.weight.detach().std())


def test_initial_weights_follow_the_table() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "linear": nn.Linear(400, 300),
            "convolution": nn.Conv2d(16, 64, 3),
            "table": nn.Embedding(500, 256),
            "block": Block(64, 4, hidden_dim=128, bias=True),
        }
    )
    initialise(model)
    assert spread(model["linear"]) == pytest.approx(1 / 20, rel=0.05)
    assert spread(model["convolution"]) == pytest.approx(1 / math.sqrt(16 * 9), rel=0.05)
    assert spread(model["table"]) == pytest.approx(1 / 16, rel=0.05)
    assert not model["linear"].bias.any()
    block = model["block"]
    assert not block.attention.out.weight.any()
    assert not block.feed_forward.down.weight.any()
    assert block.attention.q.weight.any()
    assert bool((block.attention_norm.weight == 1).all())
