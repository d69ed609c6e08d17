"""The average of the weights agrees with an independent computation, resumes exactly, and is what is validated and saved."""

from __future__ import annotations

import importlib.util
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from unit.programs.training.test_state import composed
from unit.programs.training.test_trainer import PRECISION, TASKS, Some, stage

from sightweave.core.errors import CheckpointError
from sightweave.models.adapters.lora import Lora
from sightweave.models.vlm import VLM
from sightweave.programs.training.optimizers import Optimizer
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.state import State
from sightweave.programs.training.trainer import Storage, Trainer, TrainingData
from sightweave.programs.training.weight_average import WeightAverage

needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="PEFT is not installed")


class Saved:
    """The states and the weights that a run saved, copied."""

    def __init__(self, *, stop_after: int = 0) -> None:
        self.states: list[State] = []
        self.models: list[dict[str, torch.Tensor]] = []
        self.stop_after = stop_after

    def __call__(self, state: State, model: VLM) -> None:
        self.models.append({name: value.clone() for name, value in model.state_dict().items()})
        if state.model:
            tensors = {name: value.clone() for name, value in state.to_tensors().items()}
            self.states.append(State.of(json.loads(json.dumps(state.to_json())), tensors))
        if len(self.models) == self.stop_after:
            signal.raise_signal(signal.SIGTERM)


def trained(
    out: Path, *stages: Stage, saved: Saved | None = None, state: State | None = None, **fields: Any
) -> Trainer:
    model, processor = composed()
    made = Trainer(
        model,
        processor,
        TrainingData([Some(17)], TASKS, validation=[Some(5, first=40)]),
        Settings(stages=stages, **{"validate_every": 0, "save_every": 1, **fields}),
        precision=PRECISION,
        out=out,
        seed=0,
        storage=Storage(save=saved or Saved()),
        state=state,
    )
    made.run()
    return made


def with_ema(one: Stage, ema: float) -> Stage:
    return Stage(**vars(one) | {"ema": ema})


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_the_stage_ends_with_the_average_of_all_its_weights(decay: float, tmp_path: Path) -> None:
    begin = {name: value.clone() for name, value in composed()[0].named_parameters()}
    plain = Saved()
    trained(tmp_path / "plain", stage(12), saved=plain)
    saved = Saved()
    made = trained(tmp_path / "ema", with_ema(stage(12), decay), saved=saved)

    # The weights after each update are those of a run without an average; the last state has no weights.
    steps = [dict(one.model) for one in plain.states]
    final = plain.models[-1]
    for name, parameter in made.model.named_parameters():
        average = begin[name].detach().double().numpy()
        for n, weights in enumerate([*(one[name] for one in steps[:11]), final[name]]):
            d = min(decay, (1 + n) / (10 + n))
            average = d * average + (1 - d) * weights.double().numpy()
        np.testing.assert_allclose(parameter.detach().numpy(), average, rtol=2e-5, atol=1e-7)
    assert not all(value.equal(final[name]) for name, value in made.model.named_parameters())
    assert len(plain.models) == len(saved.models)
    # Running statistics are those of the last update.
    means = [name for name in final if name.endswith("running_mean")]
    assert means
    assert all(made.model.state_dict()[name].equal(final[name]) for name in means)


def test_the_states_have_the_weights_and_the_checkpoints_have_the_average(tmp_path: Path) -> None:
    plain, saved = Saved(), Saved()
    trained(tmp_path / "plain", stage(4), saved=plain)
    trained(tmp_path / "ema", with_ema(stage(4), 0.9), saved=saved)
    for ours, theirs, model in zip(saved.states, plain.states, saved.models, strict=False):
        assert all(value.equal(theirs.model[name]) for name, value in ours.model.items())
        averages = {name: one for name, one in ours.optimizer.items() if name.endswith("/average")}
        assert averages
        assert all(model[name.removesuffix("/average")].equal(one) for name, one in averages.items())
        assert ours.optimizer.keys() - averages.keys() == theirs.optimizer.keys()


@pytest.mark.parametrize(
    "lora",
    [
        pytest.param({}, id="weights"),
        pytest.param({"language_model": Lora(rank=2, dropout=0.2)}, id="adapters", marks=needs_peft),
    ],
)
def test_a_run_with_an_average_resumes_with_the_same_bits(lora: dict[Any, Lora], tmp_path: Path) -> None:
    stages = (with_ema(stage(3, name="one", lora=lora), 0.9), with_ema(stage(3, name="two", lora=lora), 0.5))
    saved = Saved()
    whole = trained(tmp_path / "whole", *stages, saved=saved)
    for number in (0, 2, 3, 4):
        resumed = trained(tmp_path / str(number), *stages, state=saved.states[number])
        weights = resumed.model.state_dict()
        assert weights.keys() == whole.model.state_dict().keys()
        assert all(value.equal(weights[name]) for name, value in whole.model.state_dict().items())


def test_a_stopped_run_saves_the_average_and_resumes_from_the_weights(tmp_path: Path) -> None:
    one = with_ema(stage(6), 0.9)
    whole = trained(tmp_path / "whole", one)
    saved = Saved(stop_after=2)
    trained(tmp_path / "stopped", one, saved=saved)
    state = saved.states[-1]
    assert state.steps == 3
    averages = {name: one for name, one in state.optimizer.items() if name.endswith("/average")}
    assert all(saved.models[-1][name.removesuffix("/average")].equal(one) for name, one in averages.items())
    resumed = trained(tmp_path / "resumed", one, state=state)
    weights = resumed.model.state_dict()
    assert all(value.equal(weights[name]) for name, value in whole.model.state_dict().items())


def test_the_average_is_validated(tmp_path: Path) -> None:
    saved = Saved()
    made = trained(tmp_path, with_ema(stage(6), 0.99), saved=saved, validate_every=6, save_every=100)
    (only,) = made.state.validations[0]
    again = made.validations[0].run(made.model, step=6)  # it ended with the average
    assert again == only


def parameters() -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    return {"a": nn.Parameter(torch.randn(3, 4)), "b": nn.Parameter(torch.randn(5))}


def test_weights_that_are_exchanged_come_back_with_the_same_bits() -> None:
    found = parameters()
    average = WeightAverage(found, 0.9)
    with torch.no_grad():
        found["a"].mul_(3)
    before = {name: value.detach().clone() for name, value in found.items()}
    averages = {name: value.clone() for name, value in average.values.items()}

    def fail() -> None:
        with average.applied():
            assert all(value.equal(averages[name]) for name, value in found.items())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert all(value.equal(before[name]) for name, value in found.items())
    assert all(value.equal(averages[name]) for name, value in average.values.items())


def test_a_state_with_the_averages_of_something_else_is_refused() -> None:
    model = nn.Linear(3, 2)
    plain, averaged = Optimizer(model), Optimizer(model)
    averaged.average = WeightAverage(averaged.parameters, 0.9)
    with pytest.raises(CheckpointError, match="it has averages of the weights, but the stage has no ema"):
        plain.load_state_tensors(averaged.state_tensors())
    with pytest.raises(CheckpointError, match=r"no average of 'weight', but the stage has an ema of 0\.9"):
        averaged.load_state_tensors({})
    tensors = averaged.state_tensors() | {"bias/average": torch.zeros(7)}
    with pytest.raises(CheckpointError, match=r"average of 'bias' has shape \(7,\), but .* \(2,\)"):
        averaged.load_state_tensors(tensors)
