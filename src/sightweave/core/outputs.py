"""Checks of output paths: one that is already used is refused before anything slow is imported.

This module lists which files each command writes, and how a file shows that an earlier command wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sightweave.core import answer_files, files
from sightweave.core.errors import DataError, FolderError, RecipeError
from sightweave.core.run_folder import CHECKPOINT, CHECKPOINTS, FACTS, holds_run, refuse_other_results

MARKERS = dict.fromkeys(
    (FACTS, f"{CHECKPOINT}/manifest.json", "manifest.json", "evaluation.json"), "format_version"
)
"""Files that mark a folder as written by training or evaluation, and a key that each has."""
COMPARISON_MARKERS = {"comparison.json": "format_version"}
"""The same for a comparison."""
CHECK_MARKERS = {"report.json": "may_train"}
"""The same for a check of data."""
EVALUATION_FILES = ("evaluation.json", "predictions.jsonl", "answers.jsonl", "gallery", "report.html")
"""Files that an evaluation writes into a folder."""
ROWS_LEFT_OUT = ("rows-left-out.jsonl", "rows-left-out-[0-9]*.jsonl")
RUN_FILES = (
    *(FACTS, "recipe.yaml", "metrics.jsonl", "events.out.tfevents.*", "quarantine.jsonl", "text-only.json"),
    *EVALUATION_FILES,
)
"""Files that training writes into a run folder, in addition to the checkpoint and the skipped rows."""
COMPARISON_FILES = ("comparison.json", "comparison.md", "comparison.svg", "comparison.html", "steps.json")
"""Files that a comparison writes into a folder, in addition to its runs."""
CHECK_FILES = ("report.json", "report.html", "pictures.sqlite*", "pictures-against.sqlite*")
"""Files that a check of data writes into a folder."""
SHEET = ("Software", "Sightweave")
"""Text in a PNG that marks a sheet of images as ours."""
_PAGE_START = 512
_SHEET_START = 4096


def check_run(folder: Path, *, overwrite: bool = False) -> None:
    """Checks the folder for a run: it must not contain foreign files, or results of other commands unless they are replaced.

    Whether a run in it can be resumed is decided later, since that needs its recipe.

    Raises:
        FolderError: it contains one of these.
    """
    files.refuse_foreign(folder, (CHECKPOINT, CHECKPOINTS, *RUN_FILES, *ROWS_LEFT_OUT), MARKERS)
    if not overwrite and not holds_run(folder):
        refuse_other_results(folder)


def check_evaluation(place: Path) -> None:
    """Checks the folder for scores, or a file name ending in ``.csv`` for a table: foreign files are never overwritten.

    Raises:
        FolderError: there are such files.
    """
    _check(place, EVALUATION_FILES, MARKERS)


def check_comparison(folder: Path) -> None:
    """Checks the folder for a comparison in the same way."""
    files.refuse_foreign(folder, COMPARISON_FILES, COMPARISON_MARKERS)


def check_checked(place: Path) -> None:
    """Checks the folder for a check of data, or its table, in the same way."""
    _check(place, CHECK_FILES, CHECK_MARKERS)


def _check(place: Path, writes: Sequence[str], markers: Mapping[str, str]) -> None:
    if answer_files.is_table(place):
        answer_files.check(place)
    else:
        files.refuse_foreign(place, writes, markers)


def check_export(folder: Path) -> None:
    """Checks the folder for an export, which must not contain a run.

    Raises:
        RecipeError: it holds a run.
        FolderError: it is a file.
    """
    check_folder(folder)
    if (folder / CHECKPOINT).exists():
        raise RecipeError(f"{folder}: holds a run, which the export would replace; choose another folder.")


def check_cache(folder: Path) -> None:
    """Checks the folder for a cache, which must be empty or hold a cache.

    Raises:
        DataError: it contains something else.
        FolderError: it is a file.
    """
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "index.json").is_file():
        raise DataError(
            f"{folder}: not a pixel cache: it has no index.json. It was not changed; choose another folder for the cache."
        )


def check_new(folder: Path) -> None:
    """Raises `FolderError` if a folder is not empty."""
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise FolderError(f"{folder}: is not empty; choose a new folder.")


def check_folder(path: Path) -> None:
    """Raises `FolderError` if a folder is to be written and a file is there."""
    files.refuse_foreign(path, (), {})


def check_page(path: Path) -> None:
    """Checks that an output file does not overwrite anything except a page that we wrote.

    Raises:
        FolderError: it would, or it is a folder.
    """
    files.refuse_other(path, is_ours=_is_page)


def check_sheet(path: Path) -> None:
    """Checks a sheet of images in the same way."""
    files.refuse_other(path, is_ours=_is_sheet)


def _is_page(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(_PAGE_START)
    return start.startswith(b"<!doctype html>") and b'<meta http-equiv="Content-Security-Policy"' in start


def _is_sheet(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(_SHEET_START)
    except OSError:
        return False
    # A PNG has its texts before its pixels: the type of the chunk, the name, a zero byte and the value.
    return head.startswith(b"\x89PNG") and f"tEXt{SHEET[0]}\0{SHEET[1]}".encode() in head
