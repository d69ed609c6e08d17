"""Factors of learning rates: by part, and from block to block."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from contracts._compose import Case, compose

from sightweave.models.parts import choose_parts, named_parts
from sightweave.programs.training.optimizers import OptimizerConfig
from sightweave.programs.training.rates import batch_factor, rate_factors, scaled
from sightweave.programs.training.settings import Settings, Stage


def test_each_part_has_its_factor_and_each_block_less_than_the_one_above() -> None:
    model, _ = compose(
        Case("concat", (), "decoder_only"), language_model={"depth": 3, "tie_embeddings": False}
    )
    found = rate_factors(model, named_parts(model), {"encoder": 0.1, "token_embedding": 5.0}, 0.5)
    assert set(found) == {name for name, _ in model.named_parameters()}
    language = {name.removeprefix("language_model."): value for name, value in found.items()}
    assert language["output.weight"] == language["norm.weight"] == 1.0
    assert [language[f"blocks.{n}.attention.q.weight"] for n in range(3)] == [0.125, 0.25, 0.5]
    assert language["token_embedding.table.weight"] == 5.0 * 0.5**0  # a part of its own, without blocks
    assert {value for name, value in found.items() if ".connector." in name} == {1.0}


def test_without_a_factor_of_its_own_the_table_comes_before_the_blocks() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"), language_model={"depth": 3})
    found = rate_factors(model, named_parts(model), {"language_model": 2.0}, 0.5)
    assert found["language_model.token_embedding.table.weight"] == 2.0 * 0.5**4


def test_the_blocks_of_both_stacks_count() -> None:
    model, _ = compose(Case("memory", (), "encoder_decoder"))
    found = rate_factors(model, named_parts(model), {}, 0.5)
    assert found["language_model.encoder_blocks.0.attention.q.weight"] < 1.0
    assert found["language_model.encoder_norm.weight"] == 1.0


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_rates_are_multiplied_and_follow_the_schedule(name: str) -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    choose_parts(model, ["connector", "language_model"])
    settings = OptimizerConfig(
        name=name, lr=1e-2, muon_lr=3e-2, lr_multipliers={"connector": 0.5}, layer_decay=0.5, weight_decay=0.0
    )
    factors = rate_factors(model, named_parts(model), settings.lr_multipliers, settings.layer_decay)
    optimizer = settings.build(model, factors)
    optimizer.set_factor(0.1)
    rates = {
        id(parameter): group["lr"]
        for one in optimizer.optimizers
        for group in one.param_groups
        for parameter in group["params"]
    }
    for key, parameter in optimizer.parameters.items():
        is_matrix = name == "muon" and ".blocks." in key and parameter.ndim == 2
        assert rates[id(parameter)] == pytest.approx(0.1 * (3e-2 if is_matrix else 1e-2) * factors[key]), key


def test_a_smaller_rate_takes_a_smaller_step() -> None:
    """AdamW's first step is the rate in every coordinate."""
    steps = {}
    for factor in (1.0, 0.25):
        torch.manual_seed(0)
        model, _ = compose(Case("concat", (), "decoder_only"))
        choose_parts(model, ["connector"])
        settings = OptimizerConfig(lr=1e-2, lr_multipliers={"connector": factor}, weight_decay=0.0)
        optimizer = settings.build(
            model, rate_factors(model, named_parts(model), settings.lr_multipliers, 1.0)
        )
        before = {key: value.detach().clone() for key, value in optimizer.parameters.items()}
        for parameter in optimizer.parameters.values():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        steps[factor] = {
            key: (value.detach() - before[key]).abs().max() for key, value in optimizer.parameters.items()
        }
    for key, step in steps[1.0].items():
        assert float(steps[0.25][key] / step) == pytest.approx(0.25, rel=1e-2)


@pytest.mark.parametrize(("rule", "expected"), [("none", 1.0), ("linear", 4.0), ("sqrt", 2.0)])
def test_learning_rates_scale_with_the_images_per_update(rule: Any, expected: float) -> None:
    one = Stage(
        steps=5,
        batch_size=8,
        gradient_accumulation_steps=2,
        optimizer=OptimizerConfig(name="muon", lr=1e-3, muon_lr=0.02, betas=(0.9, 0.95)),
    )
    other = Stage(steps=5, batch_size=4)
    base = None if rule == "none" else 4
    settings = Settings(stages=(one, other), scale_lr=rule, base_batch_size=base)
    assert batch_factor(settings, one) == expected
    found = scaled(settings)
    assert found.stages[0].optimizer.lr == pytest.approx(1e-3 * expected)
    assert found.stages[0].optimizer.muon_lr == pytest.approx(0.02 * expected)
    assert found.stages[0].optimizer.betas == (0.9, 0.95)
    assert found.stages[1] == other
    assert scaled(found) == found  # not twice


def test_a_rule_without_a_base_or_a_base_without_a_rule_is_refused() -> None:
    one = Stage(steps=5)
    with pytest.raises(ValueError, match="scale_lr is linear, but base_batch_size is none"):
        Settings(stages=(one,), scale_lr="linear")
    with pytest.raises(ValueError, match="base_batch_size is 8, but scale_lr is none"):
        Settings(stages=(one,), base_batch_size=8)
