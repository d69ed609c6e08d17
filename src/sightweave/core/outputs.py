"""Checks output paths before anything slow is imported, so that no command overwrites files it did not write.

This module lists the files that each command writes, and how to recognise files that an earlier command wrote.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from sightweave.core import answer_files, files
from sightweave.core.errors import DataError, FolderError, RecipeError
from sightweave.core.run_folder import CHECKPOINT, CHECKPOINTS, FACTS, holds_run, refuse_other_results

MARKERS = dict.fromkeys(
    (FACTS, f"{CHECKPOINT}/manifest.json", "manifest.json", "evaluation.json"), "format_version"
)
"""Files that show that training or evaluation wrote a folder, each with a JSON key that it must contain."""
COMPARISON_MARKERS = {"comparison.json": "format_version"}
"""Files that show that a comparison wrote a folder, each with a JSON key that it must contain."""
CHECK_MARKERS = {"report.json": "may_train"}
"""Files that show that a data check wrote a folder, each with a JSON key that it must contain."""
_GALLERY = "gallery"
EVALUATION_FILES = ("evaluation.json", "predictions.jsonl", "answers.jsonl", _GALLERY, "report.html")
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
"""Files that a data check writes into a folder."""
SHEET = ("Software", "Sightweave")
"""PNG text entry, as key and value, that marks an image as written by Sightweave."""
_PAGE_START = 512
_SHEET_START = 1 << 20  # a colour profile may come before the text


def check_run(folder: Path, *, overwrite: bool = False) -> None:
    """Checks the output folder of a training run.

    Whether a run in the folder can be resumed is checked later, because this depends on its recipe.

    Args:
        folder: The folder, which need not exist.
        overwrite: Whether an earlier run, or the results of another command, may be replaced.

    Raises:
        FolderError: The folder holds results of another command that may not be replaced, or files that Sightweave did not
            write.
    """
    files.refuse_foreign(folder, (CHECKPOINT, CHECKPOINTS, *RUN_FILES, *ROWS_LEFT_OUT), MARKERS)
    if not overwrite and not holds_run(folder):
        refuse_other_results(folder)


def remove(folder: Path, patterns: Sequence[str], *, only_empty: bool = False) -> None:
    """Removes our files from a run's folder, and our folders if they are then empty."""
    for name in files.present(folder, patterns):
        path = folder / name
        if name == _GALLERY:
            remove(path, ("index.json", "[0-9][0-9][0-9][0-9]*.png"))
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
        elif not only_empty or not path.stat().st_size:
            path.unlink()


def check_evaluation(place: Path) -> None:
    """Checks the output path of an evaluation, which is a folder or a ``.csv`` file.

    Raises:
        FolderError: Files that Sightweave did not write would be overwritten.
    """
    _check(place, EVALUATION_FILES, MARKERS)


def check_comparison(folder: Path) -> None:
    """Checks the output folder of a comparison, as `check_evaluation` does."""
    files.refuse_foreign(folder, COMPARISON_FILES, COMPARISON_MARKERS)


def check_checked(place: Path) -> None:
    """Checks the output path of a data check, a folder or a ``.csv`` file, as `check_evaluation` does."""
    _check(place, CHECK_FILES, CHECK_MARKERS)


def _check(place: Path, writes: Sequence[str], markers: Mapping[str, str]) -> None:
    if answer_files.is_table(place):
        answer_files.check(place)
    else:
        files.refuse_foreign(place, writes, markers)


def check_export(folder: Path) -> None:
    """Checks the output folder of an export, which must not contain a run.

    Raises:
        RecipeError: The folder contains a run.
        FolderError: The path is a file.
    """
    check_folder(folder)
    if (folder / CHECKPOINT).exists():
        raise RecipeError(f"{folder}: holds a run, which the export would replace; choose another folder.")


def check_cache(folder: Path) -> None:
    """Checks the folder of a pixel cache, which must be empty or already hold a cache.

    Raises:
        DataError: The folder holds other files and no cache.
        FolderError: The path is a file.
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
    """Raises `FolderError` if a path for an output folder is an existing file."""
    files.refuse_foreign(path, (), {})


def check_page(path: Path) -> None:
    """Checks the output path of an HTML page, which may only replace a page that Sightweave wrote.

    Raises:
        FolderError: The path is a folder, or a file that Sightweave did not write.
    """
    files.refuse_other(path, is_ours=_is_page)


def check_sheet(path: Path) -> None:
    """Checks the output path of a sheet of images, as `check_page` does."""
    files.refuse_other(path, is_ours=_is_sheet)


def check_picture(path: Path) -> None:
    """Checks that an image may be written to a path.

    Raises:
        FolderError: The path is a folder or a file that Sightweave did not write, or its name does not end in ``.png``.
    """
    if path.suffix.lower() != ".png":
        raise FolderError(f"{path}: give a name that ends in .png; other formats would change its pixels.")
    check_sheet(path)


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
    # A PNG text chunk is its type, a key, a zero byte and a value; our PNG files have it before the pixels.
    return head.startswith(b"\x89PNG") and f"tEXt{SHEET[0]}\0{SHEET[1]}".encode() in head
