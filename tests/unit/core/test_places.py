"""Places that users name are looked at without reading them; the right ones pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightweave.core import places
from sightweave.core.errors import CheckpointError, DataError, MediaError, RecipeError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    (tmp_path / "run" / "evaluation.json").touch()
    (tmp_path / "bare").mkdir()
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").touch()
    # As a process left it that died between two renames.
    (tmp_path / "killed" / ".checkpoint.previous").mkdir(parents=True)
    (tmp_path / "answers.csv").touch()
    (tmp_path / "notes.txt").write_text("mine")
    return tmp_path


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (places.check_run, ["run", "run/checkpoint/..", "hf", "killed"]),
        (places.check_who, ["run", "hf", "killed", "answers.csv", "http://here/v1", "{kind: endpoint}"]),
        (places.check_evaluated, ["run"]),
        (places.check_results, ["run", "bare"]),
        (places.check_run_or_recipe, ["run", "own", "recipes/own.yaml"]),
        (places.check_picture, ["answers.csv"]),
        (places.check_place, ["bare", "answers.csv"]),
        (
            places.check_data,
            [
                *("bare", "scenes", "coco", "{kind: scenes}", "[bare, scenes]", "{path: answers.csv}"),
                *("my.module", "shards-{000..003}.tar"),
            ],
        ),
    ],
)
def test_right_places_pass(here: Path, check: Callable[[Any], None], right: list[str]) -> None:
    takes_text = check in (places.check_who, places.check_data)
    for place in right:
        check(place if takes_text else Path(place))


@pytest.mark.parametrize(
    ("check", "place", "error", "message"),
    [
        (
            places.check_run,
            "nowhere",
            CheckpointError,
            "folder not found; create a run with sightweave train RECIPE --out nowhere",
        ),
        (places.check_run, "bare", CheckpointError, "bare: has no manifest.json"),
        (places.check_run, "notes.txt", CheckpointError, "notes.txt: folder not found"),
        (places.check_who, "nowhere", RecipeError, "nowhere: file or folder not found"),
        (places.check_who, "bare", RecipeError, "bare: not a run"),
        (places.check_who, "notes.txt", RecipeError, "notes.txt: not a run"),
        (places.check_evaluated, "nowhere", DataError, "nowhere: folder not found"),
        (places.check_evaluated, "bare", DataError, "run sightweave evaluate bare first"),
        (places.check_results, "nowhere", CheckpointError, "folder not found"),
        (
            places.check_run_or_recipe,
            "nowhere",
            RecipeError,
            ": recipe file not found, and no built-in recipe",
        ),
        (places.check_run_or_recipe, "bare", CheckpointError, "has no manifest.json"),
        (places.check_picture, "nowhere.png", MediaError, "nowhere.png: file not found"),
        (places.check_picture, "http://here/a.png", MediaError, "URLs are not fetched"),
        (places.check_place, "nowhere", DataError, r": file or folder not found\."),
        (places.check_data, "nowhere", DataError, "give a folder with images"),
        (places.check_data, "nowhere.jsonl", DataError, "nowhere.jsonl: file or folder not found"),
        (places.check_data, "{path: nowhere}", DataError, "nowhere: file or folder not found"),
        (places.check_data, "[bare, nowhere]", DataError, "nowhere: file or folder not found"),
        (places.check_data, ["bare", {"path": "nowhere"}], DataError, "nowhere: file or folder not found"),
        (places.check_data, "{path: ", DataError, ": file or folder not found;"),
    ],
)
def test_wrong_places_are_refused(
    here: Path, check: Callable[[Any], None], place: Any, error: type[Exception], message: str
) -> None:
    takes_text = check in (places.check_who, places.check_data)
    with pytest.raises(error, match=message):
        check(place if takes_text else Path(place))


def test_a_module_is_told_from_a_file() -> None:
    assert places.is_module("my.own.source")
    for name in ("data.jsonl", "my.data.parquet", "scenes", "a-b.c", "../a.b"):
        assert not places.is_module(name), name
