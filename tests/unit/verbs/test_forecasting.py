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
from sightweave.core.errors import BackendError, RecipeError
from sightweave.programs.forecasting.watch import Watch
from sightweave.programs.training.settings import Stage
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


def test_a_prediction_changes_nothing_in_the_training_and_logs_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("peft")
    rows = [{**tiny.ROWS[0], "image": tiny.PICTURE + number, "id": str(number)} for number in range(3)]
    rows.append({**tiny.ROWS[0], "image": tiny.PICTURE + 9, "answer": "red " * 200, "id": "long"})
    adapted = recipe(steps=3, lora={"language_model": {"rank": 2}})
    settings = (*SETTINGS, "inputs.max_length=60", "train.check=false")

    digests = []
    for name in ("with", "without"):
        sightweave.train(adapted, *settings, data=rows, out=tmp_path / name, evaluate=False, progress=False)
        digests.append((tmp_path / name / "checkpoint" / "model.safetensors").read_bytes())
        monkeypatch.setattr(Watch, "predict_memory", lambda _: None)
        monkeypatch.setattr(Watch, "to_text", lambda *_: "")
    assert digests[0] == digests[1]
    assert caplog.text.count("skipped long: ") == 2  # once in each run


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
