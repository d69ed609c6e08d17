"""A run that may not fit is warned about, and predictions are means over the steps that were made."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from contracts._compose import Case, compose
from unit.programs.training.test_durations import Pictures

from sightweave.core.device import choose_precision
from sightweave.data.tasks import vqa
from sightweave.programs.forecasting.watch import Watch, is_saved_within, too_large
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.trainer import TrainingData
from sightweave.programs.training.trial import Trials

STAGE = Stage(steps=4, batch_size=2, tasks=("vqa",))


def watch(*stages: Stage) -> Watch:
    model, processor = compose(Case("concat", (), "decoder_only"))
    data = TrainingData([Pictures(9)], {"vqa": vqa.Config().build()})
    precision = choose_precision("fp32", torch.device("cpu"))
    settings = Settings(stages=stages, device="cpu")
    return Watch(model, lambda: copy.deepcopy(model).to("meta"), processor, data, settings, precision, seed=0)


def test_memory_is_predicted_for_each_stage_before_the_first_step() -> None:
    found = watch(STAGE, Stage(steps=4, batch_size=2, tasks=("vqa",), parts=("connector",)))
    found.predict_memory()
    everything, connector = found.stages
    assert everything.weights == connector.weights
    assert everything.gradients > connector.gradients > 0
    assert found.predicted_bytes is not None
    assert found.warnings == []


def test_the_prediction_leaves_the_model_and_the_random_numbers_alone() -> None:
    found = watch(STAGE)
    before = {name: value.clone() for name, value in found.model.state_dict().items()}
    state = torch.get_rng_state()
    found.predict_memory()
    found.predict_time(Trials(({1: 0.5},), 1, {1: 2.0}))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in found.model.state_dict().items())
    assert found.predicted_seconds[0] is not None
    assert found.predicted_seconds[0] > 0.5


def test_a_model_that_reads_values_has_no_prediction_but_trains(caplog: pytest.LogCaptureFixture) -> None:
    found = watch(STAGE)
    caplog.set_level(logging.INFO)

    class Reads(torch.nn.Identity):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden * float(hidden.detach().sum())

    build = found.build

    def spoilt() -> object:
        model = build()
        model.language_model.norm = Reads()
        return model

    found.build = spoilt  # type: ignore[assignment]
    found.predict_memory()
    assert found.predicted_bytes is None
    assert "memory is not predicted: the model cannot run without data" in caplog.text
    assert found.to_text([4]) == ""


def test_a_stage_that_may_not_fit_is_warned_about() -> None:
    text = too_large(1, Stage(steps=1, batch_size=8), 4 << 30, 1 << 30, torch.device("cpu"))
    assert text == (
        "stage main: a step needs about 4 GiB, but 1 GiB of memory is free on cpu, so it may run out of memory; try "
        "train.stages.1.batch_size=2, train.stages.1.gradient_checkpointing=true, or adapters (train.stages.1.lora)"
    )


def test_the_predicted_time_is_the_mean_over_the_steps_made() -> None:
    found = watch(STAGE, STAGE)
    found.predicted_seconds = [1.0, 3.0]
    assert found.predicted_step([10, 10]) == 2.0
    assert found.predicted_step([10]) == 1.0
    assert found.predicted_step([10, 0]) == 1.0
    found.predicted_seconds = [1.0, None]
    assert found.predicted_step([10, 10]) is None

    found.predicted_seconds = [1.0, 3.0]
    found.measure(steps=20, seconds=50.0)
    found.predicted_bytes, found.measured_bytes = 1 << 30, 3 << 30
    assert found.to_text([10, 10]) == (
        "forecast: step 2 s predicted, 2.5 s measured; peak memory 1 GiB predicted, 3 GiB measured"
    )
    assert found.to_json([10, 10])["step_seconds_measured"] == 2.5


def test_a_snapshot_is_held_only_by_stages_that_save_on_the_way() -> None:
    settings = Settings(stages=(STAGE,), save_every=100)
    assert not is_saved_within(100, settings)
    assert is_saved_within(101, settings)
    assert is_saved_within(None, settings)
