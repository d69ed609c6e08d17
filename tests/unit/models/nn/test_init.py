"""Initial weights follow the table in the file."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sightweave.models.nn.block import Block, BlockShape
from sightweave.models.nn.init import draw, embedding, initialise


def spread(layer: nn.Module) -> float:
    return float(layer.weight.detach().std())


def test_initial_weights_follow_the_table() -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "linear": nn.Linear(400, 300),
            "convolution": nn.Conv2d(16, 64, 3),
            "table": nn.Embedding(500, 256),
            "block": Block(BlockShape(dim=64, num_heads=4, hidden_dim=128, bias=True)),
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


def test_on_the_meta_device_nothing_is_drawn() -> None:
    with torch.device("meta"):
        table = embedding(7, 4)
        draw(table.weight, std=1.0)
    assert table.weight.is_meta
    assert table.weight.requires_grad
    assert tuple(table.weight.shape) == (7, 4)
    torch.manual_seed(3)
    ours = embedding(7, 4).weight
    torch.manual_seed(3)
    assert torch.equal(ours, nn.Embedding(7, 4).weight)


def test_a_model_without_memory_is_composed_without_a_computer_algebra_system() -> None:
    """It is imported by torch's own draws on the meta device, and takes as long as torch: every load would pay for it."""
    paths = sorted((Path(__file__).parents[4] / "recipes").glob("*.yaml"))
    recipes = [str(path) for path in paths if "google/" not in path.read_text() and path.stem != "stamps"]
    code = (
        "import sys; from sightweave import recipe\n"
        "for path in sys.argv[1:]:\n"
        "    for encoder in ('cnn', 'vit'):\n"
        "        for fusion in ('concat', 'addition', 'cross_attention'):\n"
        "            for connector in ('linear', 'resampler'):\n"
        "                settings = [f'model.{k}={v}' for k, v in "
        "dict(encoder=encoder, fusion=fusion, connector=connector).items()]\n"
        "                recipe.read(path, settings).check()\n"
        "assert 'torch' in sys.modules\n"
        "assert 'sympy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *recipes], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert recipes
