"""Weights in files have the bits of weights in memory."""

from __future__ import annotations

from pathlib import Path

import torch
from contracts._compose import Case, compose
from torch import nn

from sightweave.core.file_memory import weights_in_files


def test_initial_weights_have_the_same_bits(tmp_path: Path) -> None:
    case = Case("concat", (), "decoder_only")
    expected = compose(case, encoder="vit")[0].state_dict()
    state = torch.get_rng_state()
    with weights_in_files(tmp_path, least=0):
        found = compose(case, encoder="vit")[0].state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_files_have_no_names_and_small_weights_stay_in_memory(tmp_path: Path) -> None:
    with weights_in_files(tmp_path, least=64):
        large, small = nn.Linear(4, 4, bias=False), nn.Linear(3, 4, bias=False)
    mapped = {module: module.weight.untyped_storage().filename for module in (large, small)}
    assert mapped[small] is None
    assert str(tmp_path) in str(mapped[large])
    assert not list(tmp_path.iterdir())
    assert nn.Linear(4, 4).weight.untyped_storage().filename is None, "the context has ended"


def test_a_shared_weight_stays_shared_and_trains(tmp_path: Path) -> None:
    with weights_in_files(tmp_path, least=0):
        first, second = nn.Linear(4, 4), nn.Linear(4, 4)
        second.weight = first.weight
    assert second.weight is first.weight
    first(torch.ones(4)).sum().backward()
    before = first.weight.clone()
    torch.optim.SGD([first.weight], lr=1.0).step()
    assert torch.equal(second.weight, before - 1)
