"""Norms by part agree with the whole gradient and with the weights before and after an update."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from contracts._compose import Case, compose
from unit.programs.training.test_trainer import run, stage

from sightweave.models.parts import choose_parts, named_parts
from sightweave.programs.training.logs import read_metrics
from sightweave.programs.training.part_norms import PartNorms
from sightweave.programs.training.world import World

PARTS = ("encoder", "connector", "fusion", "language_model")


def test_the_numbers_are_those_of_the_gradients_and_of_the_update() -> None:
    model, _ = compose(Case("cross_attention", (), "decoder_only"))
    choose_parts(model, PARTS)
    parameters = {name: one for name, one in model.named_parameters() if one.requires_grad}
    torch.manual_seed(2)
    for one in parameters.values():
        one.grad = torch.randn_like(one)
    before = {name: one.detach().clone() for name, one in parameters.items()}

    norms = PartNorms(model, parameters)
    norms.before()
    with torch.no_grad():
        for one in parameters.values():
            one.sub_(0.01 * one.grad)
    norms.after()
    found = norms.take()
    assert found.keys() == {f"{kind}_{part}" for kind in ("grad_norm", "update_ratio") for part in PARTS}
    assert norms.take() == {}

    ids = {id(one): name for name, one in parameters.items()}
    total = 0.0
    for part, module in named_parts(model).items():
        if part == "token_embedding":  # within the language model
            continue
        names = [ids[id(one)] for one in module.parameters() if id(one) in ids]
        gradient = torch.cat([parameters[name].grad.flatten() for name in names])
        old = torch.cat([before[name].flatten() for name in names])
        new = torch.cat([parameters[name].detach().flatten() for name in names])
        assert found[f"grad_norm_{part}"] == pytest.approx(float(gradient.norm()), rel=1e-5)
        assert found[f"update_ratio_{part}"] == pytest.approx(
            float((new - old).norm() / old.norm()), rel=1e-4
        )
        total += found[f"grad_norm_{part}"] ** 2
    whole = torch.cat([one.grad.flatten() for one in parameters.values()])
    assert total**0.5 == pytest.approx(float(whole.norm()), rel=1e-5)


def test_processes_with_sharded_weights_have_the_same_parts_in_the_same_order() -> None:
    """They add up the norm of each part together, even of one whose weights are all whole and count in the first process."""
    model, _ = compose(Case("cross_attention", (), "decoder_only"))
    parameters = dict(model.named_parameters())
    for one in parameters.values():
        one.grad = torch.ones_like(one)
    first, second = (PartNorms(model, parameters, World(rank, 2, shards=True)) for rank in range(2))
    assert list(second.parts) == list(first.parts)
    assert set(first.parts) == set(PARTS)

    second.world = World()  # its own part of the sums
    second.before()
    second.after()
    assert set(second.take().values()) == {0.0}


def test_large_parameters_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    parameters = dict(model.named_parameters())
    monkeypatch.setattr("sightweave.programs.training.part_norms._SAMPLED", 100)
    norms = PartNorms(model, parameters)
    norms.before()
    assert all(one.numel() < 200 for part in norms._before.values() for one in part)
    with torch.no_grad():
        for one in parameters.values():
            one.mul_(1.25)
    norms.after()
    found = norms.take()
    assert found["update_ratio_language_model"] == pytest.approx(0.25, rel=1e-5)
    assert found["grad_norm_language_model"] == 0.0


def test_rows_of_the_log_have_the_norms_of_their_update_and_frozen_parts_none(tmp_path: Path) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    one = stage(7, parts=("connector", "language_model"))
    run(model, processor, tmp_path, one, log_every=3)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    expected = {"grad_norm_connector", "grad_norm_language_model"}
    assert [row["step"] for row in rows] == [2, 5, 6]
    for row in rows[:2]:
        assert {name for name in row if name.startswith("grad_norm_")} == expected
        assert 0 < row["update_ratio_connector"] < 1
    assert not any(name.startswith(("grad_norm_", "update_ratio_")) for name in rows[2])


def test_norms_by_part_make_up_the_norm_before_clipping(tmp_path: Path) -> None:
    model, processor = compose(Case("concat", (), "decoder_only"))
    run(model, processor, tmp_path, stage(2, max_grad_norm=0.01))
    for row in read_metrics(tmp_path / "metrics.jsonl"):
        total = sum(value**2 for name, value in row.items() if name.startswith("grad_norm_")) ** 0.5
        assert total == pytest.approx(row["grad_norm"], rel=1e-4)
