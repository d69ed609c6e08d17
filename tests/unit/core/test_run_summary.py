"""A run's summary: its state from what is on the disk, and a downloaded folder that is wrong in every way is no error."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sightweave.core import files
from sightweave.core.run_summary import STATES, is_run, summary

DONE = {
    "format_version": 1,
    "title": "a demo",
    "began": "2026-11-30T12:00:00+01:00",
    "steps": 80,
    "steps_planned": 80,
    "interrupted": False,
    "training_seconds": 12.5,
    "device": "cpu",
    "parameters": 1234,
}
SCORE = {
    "task": "vqa",
    "metric": "accuracy",
    "score": {"value": 0.123456789, "low": 0.1, "high": 0.2},
    "facts": {"accuracy": {"unit": "%", "less_is_better": False}},
}


def make(folder: Path, known: Any = DONE, *, tasks: Any = None, weights: bytes = b"weights") -> Path:
    """A run's folder as training leaves it, with these facts."""
    inner = folder / "checkpoint"
    inner.mkdir(parents=True)
    (inner / "model.safetensors").write_bytes(weights)
    entries = {"model.safetensors": {"bytes": len(weights), "sha256": "0" * 64}}
    (inner / "manifest.json").write_text(json.dumps({"format_version": 1, "files": entries}))
    if known is not None:
        (folder / "run.json").write_text(json.dumps(known))
    if tasks is not None:
        document = {"format_version": 1, "splits": [{"split": "test", "tasks": tasks}]}
        (folder / "evaluation.json").write_text(json.dumps(document))
    return folder


def test_a_finished_run_shows_what_it_did(tmp_path: Path) -> None:
    found = summary(make(tmp_path / "run", tasks=[SCORE]))
    assert (found.state, found.problem, found.title) == ("finished", "", "a demo")
    assert (found.steps, found.planned_steps, found.training_seconds) == (80, 80, 12.5)
    assert (found.device, found.parameters) == ("cpu", 1234)
    assert found.date == datetime(2026, 11, 30, 11, tzinfo=UTC)
    assert found.disk_bytes == sum(one.stat().st_size for one in tmp_path.rglob("*") if one.is_file())

    score = found.score()
    assert score is not None
    assert (score.split, score.value, score.low, score.high) == ("test", 0.123456789, 0.1, 0.2)
    assert score.to_text() == "vqa 12.3 % (10.0..20.0)"
    assert found.score("captioning") is None
    row = json.loads(json.dumps(found.to_json()))
    assert row["run"] == str(tmp_path / "run")
    assert row["scores"][0]["value"] == 0.123456789
    assert datetime.fromisoformat(row["date"]) == found.date


@pytest.mark.parametrize(
    ("changes", "state", "problem"),
    [
        ({"interrupted": True, "steps": 40}, "interrupted", ""),
        ({"interrupted": True, "failure": "NonFiniteLoss: loss nan"}, "failed", "NonFiniteLoss: loss nan"),
        ({"interrupted": True, "failure": ""}, "interrupted", ""),
        ({"steps": 0}, "untrained", ""),
    ],
)
def test_the_state_is_that_of_run_json(
    tmp_path: Path, changes: dict[str, Any], state: str, problem: str
) -> None:
    found = summary(make(tmp_path / "run", DONE | changes))
    assert (found.state, found.problem) == (state, problem)
    assert state in STATES


def test_a_checkpoint_alone_is_a_run_of_unknown_state(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", None)
    (folder / "checkpoint" / "recipe.json").write_text('{"title": "from its recipe"}')
    found = summary(folder)
    assert (found.state, found.title, found.steps) == ("unknown", "from its recipe", None)


def test_a_run_is_training_as_long_as_its_folder_is_locked(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with files.claimed(folder, writes=(), markers={}, purpose="training"):
        make(folder, DONE | {"steps": 20, "interrupted": True})
        (folder / "metrics.jsonl").write_text('{"step": 29}\n{"step": 39, "loss": 1.0}\n{"step": 4')
        (folder / "checkpoint" / "manifest.json").write_text("half writ")
        found = summary(folder)
        assert (found.state, found.steps, found.planned_steps) == ("training", 40, 80)
    assert summary(folder).state == "damaged"


def test_an_evaluation_of_a_run_is_no_training(tmp_path: Path) -> None:
    folder = make(tmp_path / "run")
    with files.claimed(folder, writes=(), markers={}, purpose="evaluation"):
        assert summary(folder).state == "finished"


def damage(folder: Path, name: str, data: bytes) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("run.json", b"{", "run.json: not valid JSON"),
        ("run.json", b"[1]", "run.json: expected a JSON object"),
        ("run.json", b"[" * 100_000, "run.json: not valid JSON: nested deeper"),
        ("checkpoint/manifest.json", b"{", "manifest.json: not valid JSON"),
        ("checkpoint/manifest.json", b"[]", "manifest.json: not a checkpoint manifest"),
        ("checkpoint/manifest.json", b'{"files": {"model.safetensors": 3}}', "not a checkpoint manifest"),
        ("checkpoint/model.safetensors", b"wei", "model.safetensors: 3 bytes (expected 7)."),
        ("evaluation.json", b'{"splits": [{"spl', "evaluation.json: not valid JSON"),
        ("evaluation.json", b'{"splits": [3]}', "evaluation.json: not an evaluation."),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, data: bytes, problem: str) -> None:
    folder = make(tmp_path / "run", tasks=[SCORE])
    damage(folder, name, data)
    found = summary(folder)
    assert found.state == "damaged"
    assert problem in found.problem


def test_a_finished_run_without_its_weights_is_damaged(tmp_path: Path) -> None:
    folder = make(tmp_path / "run")
    (folder / "checkpoint" / "model.safetensors").unlink()
    assert summary(folder).state == "damaged"
    for left in (folder / "checkpoint").iterdir():
        left.unlink()
    (folder / "checkpoint").rmdir()
    assert "checkpoint: not found." in summary(folder).problem


@pytest.mark.parametrize(
    "value", [None, True, -1, "80", 1 << 60, 1e999, float("nan"), [], {}, "x" * 100_000, "\x1b[2J"]
)
def test_values_of_another_kind_are_missing_ones(tmp_path: Path, value: Any) -> None:
    wrong = {name: value for name in DONE} | {"interrupted": False, "steps": 5}
    tasks = [SCORE | {"score": {"value": value, "low": value, "high": value}}]
    found = summary(make(tmp_path / "run", wrong, tasks=tasks))
    assert found.state == "finished"
    assert found.planned_steps is None
    assert found.parameters is None
    assert len(found.title) <= 300
    assert all(isinstance(one.value, float) for one in found.scores)
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.skipif(os.name != "posix", reason="named pipes and links")
def test_nothing_waits_for_a_pipe_or_leaves_the_folder(tmp_path: Path) -> None:
    folder = make(tmp_path / "run")
    os.mkfifo(folder / "evaluation.json")
    os.mkfifo(folder / "metrics.jsonl")
    os.mkfifo(folder / files.MARK)
    found = summary(folder)
    assert found.state == "damaged"
    assert "a named pipe" in found.problem

    (folder / "evaluation.json").unlink()
    (tmp_path / "large").write_bytes(b"0" * 10_000)
    (folder / "elsewhere").symlink_to(tmp_path)
    assert summary(folder).disk_bytes < 10_000
    entries = {"../../large": {"bytes": 10_000}}
    damage(folder, "checkpoint/manifest.json", json.dumps({"files": entries}).encode())
    assert "large: None bytes (expected 10000)." in summary(folder).problem


def test_a_file_of_another_program_makes_no_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"command": "of another program"}')
    assert not is_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    assert not is_run(tmp_path)
    (tmp_path / files.MARK).touch()  # ours, but truncated
    assert is_run(tmp_path)
