"""Places that commands write into: free ones and those of earlier commands pass, what is somebody else's is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sightweave import run as runs
from sightweave.core import answer_files, checkpoint, outputs
from sightweave.core.errors import DataError, FolderError, RecipeError
from sightweave.pages import page
from sightweave.programs.doctor import program as doctor
from sightweave.programs.evaluation import stored
from sightweave.programs.training import logs, quarantine
from sightweave.verbs import evaluating, text_only


def test_the_names_are_those_that_commands_write() -> None:
    of_evaluation = (
        *(evaluating.EVALUATION, evaluating.PREDICTIONS, evaluating.KEPT, evaluating.GALLERY),
        evaluating.REPORT,
    )
    assert of_evaluation == outputs.EVALUATION_FILES
    of_run = {runs.FACTS, runs.RECIPE, logs.METRICS, quarantine.FILE_NAME, text_only.TEXT_ONLY}
    assert set(outputs.RUN_FILES) == of_run | {"events.out.tfevents.*", *of_evaluation}
    assert set(outputs.CHECK_FILES) == {
        *(doctor.REPORT, doctor.PAGE, f"{doctor.PICTURES}*", f"{doctor.PICTURES_AGAINST}*"),
    }
    assert set(outputs.MARKERS) == {
        *(runs.FACTS, stored.EVALUATION, checkpoint.MANIFEST),
        f"{runs.CHECKPOINT}/{checkpoint.MANIFEST}",
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "theirs", "ours", "run/checkpoint"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("recipe.yaml", "report.html", "comparison.md"):
        (tmp_path / "theirs" / name).write_text("mine")
        (tmp_path / "ours" / name).touch()
    for name, key in (outputs.MARKERS | outputs.COMPARISON_MARKERS | outputs.CHECK_MARKERS).items():
        if "/" not in name:
            (tmp_path / "ours" / name).write_text(f'{{"{key}": 1}}')
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "notes.csv").write_text("mine")
    list(answer_files.write(tmp_path / "answers.csv", []))
    Image.new("RGB", (4, 4)).save(tmp_path / "theirs.png")
    said = PngInfo()
    said.add_text(*outputs.SHEET)
    Image.new("RGB", (4, 4)).save(tmp_path / "ours.png", pnginfo=said)
    page.write_report(
        tmp_path / "ours.html", page.Page(title="A", facts={}, recipe="", history=[], evaluations=[])
    )
    return tmp_path


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (outputs.check_run, ["new", "empty"]),
        (outputs.check_evaluation, ["new", "empty", "ours", "new.csv", "answers.csv"]),
        (outputs.check_comparison, ["new", "empty", "ours"]),
        (outputs.check_checked, ["new", "empty", "ours", "new.csv"]),
        (outputs.check_export, ["new", "empty", "theirs"]),
        (outputs.check_cache, ["new", "empty"]),
        (outputs.check_new, ["new", "empty"]),
        (outputs.check_folder, ["new", "empty", "theirs"]),
        (outputs.check_page, ["new.html", "ours.html"]),
        (outputs.check_sheet, ["new.png", "ours.png"]),
    ],
)
def test_free_places_pass_and_ours(here: Path, check: Callable[[Path], None], right: list[str]) -> None:
    for place in right:
        check(Path(place))


@pytest.mark.parametrize(
    ("check", "place", "error", "message"),
    [
        (
            outputs.check_run,
            "theirs",
            FolderError,
            "recipe.yaml, report.html, which Sightweave did not write",
        ),
        (outputs.check_run, "ours", FolderError, "results of an earlier command"),
        (outputs.check_evaluation, "theirs", FolderError, "report.html, which Sightweave did not write"),
        (
            outputs.check_evaluation,
            "notes.csv",
            FolderError,
            ": this file was not written by Sightweave and would be",
        ),
        (outputs.check_evaluation, "notes.txt", FolderError, r": is a file; a folder is needed\."),
        (outputs.check_comparison, "theirs", FolderError, "comparison.md, which Sightweave did not write"),
        (outputs.check_checked, "theirs", FolderError, "report.html, which Sightweave did not write"),
        (
            outputs.check_export,
            "run",
            RecipeError,
            "holds a run, which the export would replace; choose another",
        ),
        (outputs.check_export, "notes.txt", FolderError, r": is a file; a folder is needed\."),
        (outputs.check_cache, "theirs", DataError, ": not a pixel cache: it has no index.json"),
        (outputs.check_new, "theirs", FolderError, r": is not empty; choose a new folder\."),
        (outputs.check_folder, "notes.txt", FolderError, r": is a file; a folder is needed\."),
        (
            outputs.check_page,
            "notes.txt",
            FolderError,
            ": this file was not written by Sightweave and would be",
        ),
        (outputs.check_page, "empty", FolderError, r": is a folder; a file is needed\."),
        (
            outputs.check_sheet,
            "theirs.png",
            FolderError,
            ": this file was not written by Sightweave and would be",
        ),
    ],
)
def test_what_is_somebody_elses_is_refused(
    here: Path, check: Callable[[Path], Any], place: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check(Path(place))


def test_a_folder_may_hold_a_run_but_no_other_results(here: Path) -> None:
    (here / "run" / "run.json").write_text('{"format_version": 1}')
    outputs.check_run(Path("run"))  # with its recipe known, it is resumed or refused
    shutil.rmtree(here / "run" / "checkpoint")
    (here / "run" / "evaluation.json").write_text("{}")
    with pytest.raises(FolderError, match="holds the results of an earlier command"):
        outputs.check_run(Path("run"))
    outputs.check_run(Path("run"), overwrite=True)
    with pytest.raises(FolderError, match="did not write"):
        outputs.check_run(Path("theirs"), overwrite=True)
