"""Trackers get every row and the end of a run, whatever happens; one that fails does not end the training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from trackers import recording

from sightweave.core import config
from sightweave.core.errors import BackendError, RecipeError
from sightweave.programs.training.logs import TrainingProgress
from sightweave.programs.training.settings import Settings
from sightweave.programs.training.tracking import Tracking

KIND = "trackers.recording"
STAGES = {"stages": [{"steps": 1}]}


@pytest.fixture
def calls() -> list[tuple[Any, ...]]:
    recording.CALLS.clear()
    return recording.CALLS


def progress(step: int = 3, **values: float | str) -> TrainingProgress:
    numbers = dict.fromkeys(
        ("lr", "samples_per_second", "tokens_per_second", "waiting_share", "peak_memory_bytes"), None
    )
    return TrainingProgress(
        step=step, planned_steps=9, stage="main", loss=1.0, seconds_left=None, values=values, **numbers
    )


def started(folder: Path, fails_at: str = "", ids: Mapping[str, str] | None = None) -> Tracking:
    tracking = Tracking([recording.Config(fails_at=fails_at)])
    found = tracking.start(folder, title="a title", recipe={"seed": 3}, ids=ids or {})
    assert found == {KIND: "id-1", **(ids or {})}
    return tracking


def test_a_run_is_begun_followed_and_ended(tmp_path: Path, calls: list[tuple[Any, ...]]) -> None:
    with started(tmp_path / "run") as tracking:
        assert tracking.places == {KIND: "here"}
        tracking.log(progress(loss=1.0, stage="main", norm=float("nan"), count=2))
        tracking.finish("finished", scores={"scores/test/vqa": 0.5}, report=tmp_path / "report.html")
    begin, row, end = calls
    run = begin[1]
    assert (run.folder, run.name, run.title, run.recipe, run.id) == (
        *(tmp_path / "run", "run", "a title"),
        *({"seed": 3}, ""),
    )
    assert row == ("log", 2, {"loss": 1.0, "count": 2.0})  # as in TensorBoard, which counts from 0
    assert end == ("finish", "finished", {"scores/test/vqa": 0.5}, tmp_path / "report.html")


def test_an_id_of_an_earlier_process_resumes_its_run(tmp_path: Path, calls: list[tuple[Any, ...]]) -> None:
    started(tmp_path, ids={KIND: "id-0"})
    assert calls[0][1].id == "id-0"

    # What run.json says of others is kept, and what is no id is none.
    tracking = Tracking([recording.Config()])
    assert tracking.start(tmp_path, title="", recipe={}, ids={"mlflow": "m", KIND: 3}) == {
        "mlflow": "m",
        KIND: "id-1",
    }


@pytest.mark.parametrize(
    ("error", "state"),
    [(ValueError, "failed"), (KeyboardInterrupt, "interrupted"), (SystemExit, "interrupted")],
)
def test_an_error_of_the_training_ends_the_run_too(
    tmp_path: Path, calls: list[tuple[Any, ...]], error: type[BaseException], state: str
) -> None:
    with pytest.raises(error), started(tmp_path):
        raise error
    assert calls[-1] == ("finish", state, {}, None)


def test_a_tracker_that_fails_is_left_out(
    tmp_path: Path, calls: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    with started(tmp_path, fails_at="log") as tracking:
        tracking.log(progress(loss=1.0))
        tracking.log(progress(loss=2.0))
    assert [name for name, *_ in calls] == ["start", "log"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "tracker trackers.recording failed and gets no more numbers: log does not work"
    )


def test_a_tracker_that_cannot_start_is_an_error(tmp_path: Path, calls: list[tuple[Any, ...]]) -> None:
    tracking = Tracking([recording.Config(fails_at="start")])
    message = r"trackers.recording cannot start a run: start does not work To train without it, remove it"
    with pytest.raises(BackendError, match=message):
        tracking.start(tmp_path, title="", recipe={}, ids={})
    tracking = Tracking([recording.Config(fails_at="start")])
    with pytest.raises(BackendError, match="cannot resume its run 'id-0'"):
        tracking.start(tmp_path, title="", recipe={}, ids={KIND: "id-0"})
    assert len(calls) == 2


def settings(*trackers: Any) -> Settings:
    return config.build(Settings, {**STAGES, "trackers": list(trackers)}, where="train")


def test_trackers_are_named_in_the_recipe() -> None:
    found = settings("wandb", {"kind": "mlflow", "experiment": "mine"}).trackers
    assert [config.kind_of(one) for one in found] == ["wandb", "mlflow"]
    assert found[1].experiment == "mine"
    with pytest.raises(RecipeError, match=r"no trackers kind 'wandbb'\. Did you mean 'wandb'"):
        settings("wandbb")
    with pytest.raises(RecipeError, match=r"each tracker can be used once \(got wandb, wandb\)"):
        settings("wandb", {"kind": "wandb", "project": "p"})
