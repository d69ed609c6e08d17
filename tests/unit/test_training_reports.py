"""What follows a training from outside: a function of the caller, and the list of runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from trackers import recording

import sightweave
from sightweave.core.errors import BackendError
from sightweave.programs.training.logs import METRICS, TrainingProgress, read_metrics

ROWS = [
    {"image": np.full((6, 6, 3), 25 * number, np.uint8), "question": "How bright?", "answer": str(number)}
    for number in range(6)
]


def train(out: Path, *, trackers: Sequence[Any] = (), **options: Any) -> sightweave.Run:
    recipe = {
        "title": "follow me",
        "data": [],
        "model": tiny.MODEL,
        "inputs": {"vocab_size": 280},
        "train": {
            "stages": [{"name": "words", "steps": 4, "batch_size": 2}, {"steps": 4, "batch_size": 2}],
            "num_threads": 1,
            "precision": "fp32",
            "log_every": 2,
            "check": False,
            "trackers": list(trackers),
        },
        "evaluate": {"max_tokens": 2, "controls": []},
    }
    return sightweave.train(recipe, data=ROWS, out=out, **{"evaluate": False, **options})


def facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_a_function_is_called_with_each_row_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[TrainingProgress] = []
    train(tmp_path / "run", progress=seen.append)
    assert [(one.step, one.stage) for one in seen] == [(2, "words"), (4, "words"), (6, "main"), (8, "main")]
    rows = read_metrics(tmp_path / "run" / METRICS)
    assert [one.loss for one in seen] == [row["loss"] for row in rows]
    for one, row in zip(seen, rows, strict=True):
        assert one.planned_steps == 8
        assert one.lr == row["lr"]
        assert one.samples_per_second == row["samples_per_second"] > 0
        assert one.tokens_per_second == row["tokens_per_second"] > 0
        assert one.waiting_share == row["waiting_share"]
        assert 0 <= row["waiting_share"] <= 1
        assert one.values == {name: value for name, value in row.items() if name not in ("step", "time")}
        assert one.peak_memory_bytes is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen[0].step = 3  # type: ignore[misc]
    assert capsys.readouterr() == ("", "")  # nobody watches, so nothing is shown


@dataclasses.dataclass
class StopsAt:
    """Raises once a step is reached."""

    step: int
    seen: list[int] = dataclasses.field(default_factory=list)

    def __call__(self, progress: TrainingProgress) -> None:
        self.seen.append(progress.step)
        if progress.step >= self.step:
            raise LookupError("enough")


def test_an_error_of_the_function_stops_training_which_saves_first(tmp_path: Path) -> None:
    stops = StopsAt(4)
    with pytest.raises(LookupError, match="enough"):
        train(tmp_path / "run", progress=stops)
    assert stops.seen == [2, 4]  # never asked again

    known = facts(tmp_path / "run")
    assert known["interrupted"]
    assert 4 <= known["steps"] < 8
    assert sightweave.load(tmp_path / "run").is_interrupted  # its weights are there

    (found,) = sightweave.runs(tmp_path)
    assert (found.state, found.problem) == ("failed", "LookupError: enough")
    assert (found.steps, found.planned_steps, found.title) == (known["steps"], 8, "follow me")


def test_a_trained_run_is_listed(tmp_path: Path) -> None:
    train(tmp_path / "run")
    (found,) = sightweave.runs(tmp_path)
    assert (found.state, found.problem, found.title) == ("finished", "", "follow me")
    assert (found.steps, found.planned_steps) == (8, 8)
    assert found.parameters == sum(
        one.numel() for one in sightweave.load(tmp_path / "run").model.parameters()
    )
    assert found.disk_bytes > 4 * found.parameters
    assert found.date.isoformat() == facts(tmp_path / "run")["began"]


def test_a_tracker_gets_rows_and_scores_and_a_resumed_training_keeps_its_id(tmp_path: Path) -> None:
    recording.CALLS.clear()
    kinds = ["trackers.recording"]
    with pytest.raises(LookupError, match="enough"):
        train(tmp_path / "run", trackers=kinds, progress=StopsAt(4))
    (_, begun), *rows, end = recording.CALLS
    assert (begun.folder, begun.title, begun.id) == (tmp_path / "run", "follow me", "")
    assert begun.recipe["train"]["log_every"] == 2
    assert [step for _, step, _ in rows][:2] == [1, 3]
    assert rows[0][2]["loss"] == read_metrics(tmp_path / "run" / METRICS)[0]["loss"]
    assert end == ("finish", "failed", {}, None)
    assert facts(tmp_path / "run")["trackers"] == {"trackers.recording": "id-1"}

    recording.CALLS.clear()
    train(tmp_path / "run", trackers=kinds, evaluate=True)
    (_, begun), *rows, end = recording.CALLS
    assert begun.id == "id-1"
    assert [step for _, step, _ in rows][-1] == 7
    assert end[:2] == ("finish", "finished")
    assert end[2].keys() == {"scores/test/vqa"}
    assert end[3] == tmp_path / "run" / "report.html"
    (found,) = sightweave.runs(tmp_path)
    assert (found.state, found.problem) == ("finished", "")


def test_a_tracker_that_cannot_start_costs_no_earlier_run(tmp_path: Path) -> None:
    train(tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint" / "model.safetensors").read_bytes()
    broken = [{"kind": "trackers.recording", "fails_at": "start"}]
    with pytest.raises(BackendError, match="cannot start a run: start does not work"):
        train(tmp_path / "run", trackers=broken, overwrite=True)
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").read_bytes() == before
    (found,) = sightweave.runs(tmp_path)
    assert found.state == "finished"
