"""What training texts alone would answer is counted once for a run."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from sightweave import api
from sightweave.data.datasets.scenes import Scenes
from sightweave.verbs.text_only import TEXT_ONLY


@pytest.fixture
def run(tmp_path: Path) -> Path:
    recipe: dict[str, Any] = {
        "data": [{"kind": "scenes", "size": 40}],
        "model": tiny.MODEL,
        "train": {"stages": [{"steps": 2, "batch_size": 2}], "check": False},
        "evaluate": {"splits": ["scenes"], "max_images": 3, "controls": []},
    }
    api.train(recipe, out=tmp_path / "run")
    return tmp_path / "run"


def test_later_evaluations_read_what_the_first_one_counted(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = json.loads((run / "evaluation.json").read_text())["splits"]
    made: list[int] = []
    without_regions = Scenes.without_regions
    monkeypatch.setattr(Scenes, "without_regions", lambda self: made.append(1) or without_regions(self))

    api.evaluate(run, "tasks.vqa.metrics=[exact_match]")  # another metric asks no other prompt
    again = json.loads((run / "evaluation.json").read_text())["splits"]
    assert not made
    assert again[0]["notes"] == first[0]["notes"]
    for before, after in zip(first[0]["tasks"], again[0]["tasks"], strict=True):
        if before["task"] != "vqa":
            assert after == before

    api.evaluate(run, "tasks.vqa.instruction=Look and answer.", out=tmp_path / "other")
    assert made == [1]
    kept = json.loads((run / TEXT_ONLY).read_text())
    assert all(
        prompt.startswith("Look and answer.") for prompt, *_ in kept["counts"]["neighbour"]["vqa"]["answers"]
    )


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format_version": 1, "key": 3', None])
def test_what_cannot_be_read_is_counted_again(run: Path, text: str | None) -> None:
    before = (run / TEXT_ONLY).read_text()
    damaged = json.loads(before)
    damaged["counts"]["votes"] = 3
    (run / TEXT_ONLY).write_text(json.dumps(damaged) if text is None else text)
    api.evaluate(run)
    assert (run / TEXT_ONLY).read_text() == before
