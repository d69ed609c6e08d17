"""A forecast trains and writes nothing, and a run reports what was predicted next to what was measured."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

import sightweave
from sightweave.core.device import choose_precision
from sightweave.core.errors import BackendError, RecipeError
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.trainer import TrainingData
from sightweave.verbs import forecasting
from sightweave.verbs.sources import read_recipe

SETTINGS = ("train.device=cpu", "train.precision=fp32", "train.num_threads=1")


def recipe(**stage: Any) -> dict[str, Any]:
    return {**tiny.RECIPE, "train": {"stages": [{"steps": 40, "batch_size": 1, **stage}]}}


def test_a_forecast_for_a_device_is_computed_from_the_recipe_and_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = sightweave.forecast(recipe(), *SETTINGS, data=tiny.ROWS, device="h100", price=2.0)
    (stage,) = found.stages
    run = sightweave.build(recipe(), *SETTINGS, data=tiny.ROWS)

    assert sum(one.trained + one.frozen for one in stage.parts) == sum(
        one.numel() for one in run.model.parameters()
    )
    assert stage.flops.forward > 0
    assert stage.flops.backward > stage.flops.forward
    assert stage.fits
    assert stage.fitting_batch_size > 1 or stage.batch_size == 1
    assert stage.seconds == 40 * stage.time.total
    assert found.cost == 2.0 * found.hours
    assert list(tmp_path.iterdir()) == []  # nothing is written


def test_a_forecast_for_this_machine_tries_a_model_that_is_thrown_away() -> None:
    found = sightweave.forecast(recipe(), *SETTINGS, data=tiny.ROWS, now=itertools.count().__next__)
    (stage,) = found.stages
    assert stage.time.total > 0
    assert stage.memory.total > stage.memory.certain > 0
    assert found.energy_kwh is None
    assert "this machine" in found.to_text()


def test_epochs_become_the_steps_that_training_makes() -> None:
    rows = [dict(tiny.ROWS[0], image=tiny.PICTURE + number) for number in range(10)]
    given = {**tiny.RECIPE, "train": {"stages": [{"epochs": 4, "batch_size": 3}]}}
    found = sightweave.forecast(given, *SETTINGS, data=rows, device="h100")
    assert found.stages[0].steps == 12  # one of ten images is held out, as in training


def test_several_devices_share_the_batch() -> None:
    rows = [dict(tiny.ROWS[0], image=tiny.PICTURE + number) for number in range(10)]
    one = sightweave.forecast(recipe(batch_size=8), *SETTINGS, data=rows, device="h100")
    four = sightweave.forecast(recipe(batch_size=8), *SETTINGS, data=rows, device="h100", count=4)
    assert four.stages[0].batch_size == one.stages[0].batch_size == 8
    assert four.stages[0].samples == one.stages[0].samples
    assert four.stages[0].layout == "replicated"
    three = sightweave.forecast(recipe(batch_size=8), *SETTINGS, data=rows, device="h100", count=3)
    assert "batch_size 8 is not a multiple of 3 devices" in three.to_text()


def test_unknown_devices_and_devices_without_a_name_are_refused() -> None:
    with pytest.raises(BackendError, match="is not in the table of devices"):
        sightweave.forecast(recipe(), data=tiny.ROWS, device="abacus")
    with pytest.raises(RecipeError, match="count is 2; name the devices"):
        sightweave.forecast(recipe(), data=tiny.ROWS, count=2)


def test_a_run_ends_with_predicted_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = sightweave.train(
        recipe(steps=3), *SETTINGS, data=tiny.ROWS, out=tmp_path / "run", progress=True, evaluate=False
    )
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("forecast: ")]
    assert "predicted" in line
    assert "measured" in line
    assert run.folder is not None
    found = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))["forecast"]
    assert found["step_seconds_predicted"] > 0
    assert found["step_seconds_measured"] > 0
    assert found["memory_bytes_predicted"] > 0


def test_training_is_refused_if_its_state_alone_cannot_fit() -> None:
    read = read_recipe(recipe(), ["data=scenes"])
    cpu = torch.device("cpu")
    forecasting.check_fits(read, cpu)
    huge_decoder = {"kind": "decoder_only", "dim": 65536, "depth": 90, "num_heads": 64}
    model = {**tiny.MODEL, "language_model": huge_decoder}
    huge = read_recipe({**recipe(), "model": model}, ["data=scenes"])
    with pytest.raises(
        RecipeError, match=r"stage 'main': weights \(.*TiB\), gradients .* need .* but cpu has .* of memory"
    ):
        forecasting.check_fits(huge, cpu)
    # Frozen, it needs neither gradients nor state, but its weights are still too large.
    train = dataclasses.replace(huge.train, stages=(Stage(steps=1, parts=("connector",)),))
    with pytest.raises(RecipeError, match="quantize frozen parts"):
        forecasting.check_fits(dataclasses.replace(huge, train=train), cpu)


def test_a_stage_that_may_not_fit_is_warned_about() -> None:
    text = forecasting._too_large(1, Stage(steps=1, batch_size=8), 4 << 30, 1 << 30, torch.device("cpu"))
    assert text == (
        "stage main: a step needs about 4 GiB, but 1 GiB of memory is free on cpu, so it may run out of memory; try "
        "train.stages.1.batch_size=2, train.stages.1.gradient_checkpointing=true, or adapters (train.stages.1.lora)"
    )


def test_the_predicted_time_is_the_mean_over_the_steps_made() -> None:
    run = sightweave.build(recipe(), *SETTINGS, data=tiny.ROWS)
    precision = choose_precision("fp32", torch.device("cpu"))
    watch = forecasting.Watch(run, TrainingData([], {}), run.recipe.train, precision)
    watch.predicted_seconds = [1.0, 3.0]
    assert watch.predicted_step([10, 10]) == 2.0
    assert watch.predicted_step([10]) == 1.0
    assert watch.predicted_step([10, 0]) == 1.0
    watch.predicted_seconds = [1.0, None]
    assert watch.predicted_step([10, 10]) is None
