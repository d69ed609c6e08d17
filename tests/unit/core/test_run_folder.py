"""What a run's folder says without being loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightweave.core import run_folder
from sightweave.core.errors import CheckpointError, FolderError


def test_facts_are_an_object_or_an_error(tmp_path: Path) -> None:
    assert run_folder.facts_of(tmp_path) == {}
    path = tmp_path / run_folder.FACTS
    path.write_text('{"steps": 3}')
    assert run_folder.facts_of(tmp_path) == {"steps": 3}
    for text in ("[1]", '{"steps": '):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=r"run\.json"):
            run_folder.facts_of(tmp_path)


def test_an_unfinished_training_is_said() -> None:
    assert run_folder.unfinished({"steps": 5, "interrupted": False}) == ""
    told = run_folder.unfinished({"steps": 5, "steps_planned": 1200, "interrupted": True})
    assert told == "training is unfinished: it was interrupted after step 5 of 1,200"
    assert "before its first checkpoint" in run_folder.unfinished({"steps": 0, "interrupted": True})


def test_results_are_not_overwritten(tmp_path: Path) -> None:
    run_folder.refuse_other_results(tmp_path)
    (tmp_path / "evaluation.json").touch()
    with pytest.raises(FolderError, match=r"results of an earlier command \(evaluation\.json\).*--overwrite"):
        run_folder.refuse_other_results(tmp_path)


def test_a_run_is_refused_with_the_reason_and_its_state(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"steps": 5, "interrupted": True}))
    with pytest.raises(
        FolderError, match=r": already holds a trained run;.*because.*unfinished.*after step 5"
    ):
        run_folder.refuse_run(tmp_path, "because")


@pytest.mark.parametrize("name", ["checkpoint", ".checkpoint.previous", "checkpoints/step-00000003"])
def test_a_run_is_a_folder_with_weights(tmp_path: Path, name: str) -> None:
    assert not run_folder.holds_run(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert not run_folder.holds_run(tmp_path)
    (tmp_path / name).mkdir()
    assert run_folder.holds_run(tmp_path)
