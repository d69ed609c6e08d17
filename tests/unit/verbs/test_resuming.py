"""A folder that training is to write into: nothing in it, an unfinished run to resume, or a finished one."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image
from rich.console import Console

from sightweave import api
from sightweave.core.errors import CheckpointError, DataError, FolderError, RecipeError, SightweaveError
from sightweave.data.datasets import own
from sightweave.programs.training.checkpoints import Checkpoints
from sightweave.programs.training.trainer import Trainer
from sightweave.verbs import resuming

RECIPE: dict[str, Any] = {
    "data": [],
    "model": tiny.MODEL,
    "inputs": {"vocab_size": 280},
    "evaluate": {"max_tokens": 2, "controls": []},
    "train": {
        "stages": [{"steps": 6, "batch_size": 2}],
        "num_threads": 1,
        "precision": "fp32",
        "save_every": 2,
        "log_every": 1,
        "check": False,
    },
}


class Killed(BaseException):
    """Stands for a kill in this process; tests/attacks/test_resumed.py has real ones."""


def rows(count: int = 5) -> list[dict[str, Any]]:
    made = []
    for number in range(count):
        made.append({**tiny.ROWS[0], "image": tiny.PICTURE + number, "answer": f"ramp {number}"})
    return made


def train(out: Path, *settings: str, data: Any = None, **options: Any) -> tuple[api.Run, str]:
    said = io.StringIO()
    console = Console(file=said, width=200)
    options = {"evaluate": False, **options}
    return api.train(
        RECIPE, *settings, data=data or rows(), out=out, console=console, **options
    ), said.getvalue()


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count = Trainer._count

    def counted(self: Trainer, *values: Any) -> None:
        count(self, *values)
        if self.state.steps == steps:
            self.storage.finish()  # the checkpoints so far are on disk
            raise Killed

    monkeypatch.setattr(Trainer, "_count", counted)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(out)
    return out


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that died after five of its six steps; the last checkpoint is that of the fourth."""
    out = tmp_path_factory.mktemp("runs") / "unfinished"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(5, patch)
        with pytest.raises(Killed):
            train(out)
    return out


@pytest.fixture
def run(unfinished: Path, tmp_path: Path) -> Path:
    """A copy to resume."""
    shutil.copytree(unfinished, tmp_path / "run")
    return tmp_path / "run"


def facts(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return found


def weights(out: Path) -> bytes:
    return (out / "checkpoint" / "model.safetensors").read_bytes()


def test_the_same_call_resumes(run: Path, whole: Path) -> None:
    assert facts(run)["interrupted"]
    assert Checkpoints(run).steps == [2, 4]
    found, said = train(run)
    assert f"{run}: resumed after step 4 of 6" in said
    assert weights(run) == weights(whole)
    assert not found.unfinished
    assert not (run / "checkpoints").exists()
    (entry,) = facts(run)["resumed"]
    assert (entry["step"], entry["changes"]) == (4, [])
    assert "last bits" not in said


def test_a_second_death_and_a_second_resume(run: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        with pytest.raises(Killed):
            train(run, "train.save_every=1")
    assert Checkpoints(run).steps[-1] == 4  # the fifth step was counted, not saved
    train(run)
    assert weights(run) == weights(whole)
    assert len(facts(run)["resumed"]) == 2


def test_a_finished_run_says_so_and_is_loaded(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    found, said = train(tmp_path / "run")
    assert "this run is finished; to train it further, use a recipe with init_from=" in said
    assert found.folder == tmp_path / "run"
    assert weights(tmp_path / "run") == weights(whole)


def test_a_finished_run_is_scored_if_that_was_not_done(tmp_path: Path) -> None:
    data = [*rows(), {**rows(6)[5], "split": "test"}]
    train(tmp_path / "run", data=data)
    assert not (tmp_path / "run" / "evaluation.json").exists()
    found, _ = train(tmp_path / "run", data=data, evaluate=True)
    assert [one.split for one in found.evaluations] == ["test"]


def test_checkpoints_that_a_kill_left_with_a_finished_run_are_removed(
    whole: Path, unfinished: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    shutil.copytree(unfinished / "checkpoints", tmp_path / "run" / "checkpoints")
    train(tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_finished_run_of_another_recipe_is_refused(whole: Path) -> None:
    with pytest.raises(
        FolderError, match=r"already holds a trained run;.*\n  seed: 0 -> 3\n  train.stages.0.steps: 6 -> 9"
    ):
        train(whole, "seed=3", "train.stages.0.steps=9")


def test_a_finished_run_of_other_data_is_refused(whole: Path) -> None:
    with pytest.raises(
        FolderError, match=r"already holds a trained run;.*training data differs.*\n  data.0: 4 images -> 7"
    ):
        train(whole, data=rows(8))
    other = [{**one, "answer": "something else"} for one in rows()]
    with pytest.raises(FolderError, match=r"training data differs.*\n  data.0: other rows"):
        train(whole, data=other)


def test_a_changed_recipe_is_refused_with_the_differences_or_recorded(run: Path) -> None:
    changed = "train.stages.0.optimizer.lr=0.5"
    with pytest.raises(
        RecipeError,
        match=r"(?s)interrupted after step 4 of 6.*optimizer.lr: [\d.e-]+ -> 0.5\n.*--allow-chang",
    ):
        train(run, changed)
    _, said = train(run, changed, allow_changes=True)
    assert "changed: train.stages.0.optimizer.lr: " in said
    (entry,) = facts(run)["resumed"]
    assert "optimizer.lr" in entry["changes"][0]
    assert facts(run)["recipe_given"]["train"]["stages"][0]["optimizer"]["lr"] == 0.5


def test_settings_that_change_no_result_may_change(run: Path, whole: Path) -> None:
    train(
        run,
        "title=Mine",
        "train.save_every=5",
        "train.num_workers=2",
        "evaluate.max_tokens=9",
        "train.keep_checkpoints=3",
    )
    assert weights(run) == weights(whole)


def test_changed_data_is_refused_with_the_differences_or_recorded(run: Path) -> None:
    with pytest.raises(DataError, match=r"data has changed.*\n  data.0: 4 images -> 7\n.*allow_changes=True"):
        train(run, data=rows(8))
    _, said = train(run, data=rows(8), allow_changes=True)
    assert "changed: data.0: 4 images -> 7" in said
    assert facts(run)["distinct_pictures_shown"] <= 8


def images_of(folder: Path) -> list[Any]:
    """The training data of a folder with one image, read now."""
    return [own.Config(path=str(folder)).build(split="train")]


def test_an_image_file_of_another_size_is_a_change_and_one_of_the_same_size_is_not(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    run.mkdir()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(data / "a.png", compress_level=0)
    row = {"image": "a.png", "question": "Which?", "answer": "red", "split": "train"}
    (data / "data.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")

    known = {"sources": resuming.facts_of_sources(images_of(data))}
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    assert resuming.data_changes(run, images_of(data)) == []

    # A copy of the data with other times; then an image of the same size, which is not seen, as the page says.
    os.utime(data / "a.png", (1, 1))
    assert resuming.data_changes(run, images_of(data)) == []
    Image.new("RGB", (8, 8), (0, 200, 0)).save(data / "a.png", compress_level=0)
    assert resuming.data_changes(run, images_of(data)) == []

    Image.new("RGB", (9, 9), (0, 200, 0)).save(data / "a.png", compress_level=0)
    assert resuming.data_changes(run, images_of(data)) == ["data.0: image files of other sizes"]

    # A run of an earlier version, which has no sizes, is resumed.
    del known["sources"][0]["sizes"]
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    assert resuming.data_changes(run, images_of(data)) == []


def test_another_number_of_threads_is_told(run: Path) -> None:
    _, said = train(run, "train.num_threads=2")
    assert "may differ in the last bits from a run that was never stopped: threads 1 -> 2" in said


def test_other_versions_are_told(run: Path) -> None:
    known = facts(run)
    known["versions"]["torch"] = "1.0"
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    _, said = train(run)
    assert "torch 1.0 -> " in said


def test_a_damaged_newest_checkpoint_costs_only_steps(
    run: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = Checkpoints(run).path(4) / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    _, said = train(run)
    assert "resumed after step 2 of 6" in said
    assert "skipped, using the one before it" in caplog.text
    assert weights(run) == weights(whole)


def test_nothing_is_lost_where_no_checkpoint_can_be_read(run: Path) -> None:
    for steps in Checkpoints(run).steps:
        (Checkpoints(run).path(steps) / "manifest.json").unlink()
    before = sorted(run.rglob("*"))
    with pytest.raises(CheckpointError, match="none of its 2 checkpoints can be read"):
        train(run)
    assert sorted(run.rglob("*")) == before


def test_a_run_of_an_earlier_version_is_refused(run: Path) -> None:
    known = facts(run)
    del known["recipe_given"]
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    with pytest.raises(FolderError, match=r"already holds a trained run.*unfinished"):
        train(run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(FolderError, match=r"already holds a trained run.*unfinished"):
        train(run)


def test_a_recipe_in_the_folder_that_cannot_be_read_is_a_difference(run: Path) -> None:
    known = facts(run)
    known["recipe_given"]["model"]["fusion"] = {"kind": "somebody.else"}
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    with pytest.raises(RecipeError, match="its recipe cannot be read"):
        train(run)


def test_overwriting_starts_again(run: Path, whole: Path) -> None:
    _, said = train(run, overwrite=True)
    assert "resumed" not in said
    assert weights(run) == weights(whole)
    assert "resumed" not in facts(run)
    assert not (run / "checkpoints").exists()


def test_a_mistake_before_the_first_step_leaves_the_unfinished_run(run: Path) -> None:
    before = sorted(run.rglob("*"))
    with pytest.raises(SightweaveError):
        train(run, "inputs.vocab_size=3", allow_changes=True)
    assert set(before) <= set(run.rglob("*"))
    train(run)
