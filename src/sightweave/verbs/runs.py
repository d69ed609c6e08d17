"""Lists the runs in a folder. Imports nothing slow, so that the list is there at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from sightweave.core import run_summary
from sightweave.core.errors import DataError, RecipeError, did_you_mean
from sightweave.core.run_summary import RunSummary

logger = logging.getLogger(__name__)
SORTS = ("date", "score", "time", "size")
"""Orders of the list: newest, best, longest training, or largest first."""
_MOST_DEPTH = 3
"""Levels of folders below the given one that are searched: a comparison holds its runs one level down."""
_MOST_FOLDERS = 20_000


def runs(folder: str | Path = "runs", *, sort: str = "date", task: str | None = None) -> list[RunSummary]:
    """Lists the runs in a folder and in the folders below it, such as those of a comparison.

    Only small files are read, and nothing in the folders is executed.

    Args:
        folder: Folder with runs, or a run.
        sort: ``date`` for the newest run first, ``score`` for the best, ``time`` for the longest training, ``size`` for
            the largest on disk. Scores of different tasks, metrics or splits are not mixed: each group is sorted by
            itself, and runs without a score come last.
        task: Task whose score is used for sorting; by default the first task of each run.

    Raises:
        DataError: The folder does not exist.
        RecipeError: The order is unknown.
    """
    if sort not in SORTS:
        raise RecipeError(f"sort: {sort!r} is unknown. {did_you_mean(sort, SORTS)}")
    root = Path(folder)
    check_folder(root)

    found = [run_summary.summary(one) for one in _search(root)]
    found.sort(key=lambda one: one.date, reverse=True)
    if sort == "time":
        found.sort(key=lambda one: one.training_seconds or 0.0, reverse=True)
    elif sort == "size":
        found.sort(key=lambda one: one.disk_bytes, reverse=True)
    elif sort == "score":
        found.sort(key=lambda one: _rank(one, task))
    return found


def check_folder(folder: Path) -> None:
    """Raises `DataError` if there is no folder at a path."""
    if not folder.is_dir():
        raise DataError(f"{folder}: folder not found; give the folder that holds your runs.")


def _search(root: Path) -> Iterator[Path]:
    """The runs at a folder and below it. Links are not followed, and nothing is searched inside a run."""
    if run_summary.is_run(root):
        yield root
        return

    waiting = [(root, 0)]
    count = 0
    while waiting:
        folder, depth = waiting.pop()
        for path in _folders_in(folder):
            count += 1
            if run_summary.is_run(path):
                yield path
            elif depth < _MOST_DEPTH:
                waiting.append((path, depth + 1))

        if count > _MOST_FOLDERS:
            logger.warning("%s: has more than %d folders; the rest is not searched.", root, _MOST_FOLDERS)
            return


def _folders_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            ]
    except OSError:  # not readable, or removed meanwhile
        return []
    return [folder / name for name in sorted(names)]


def _rank(found: RunSummary, task: str | None) -> tuple[bool, str, str, str, float]:
    """A key that sorts the best score of each kind to the front."""
    score = found.score(task)
    if score is None:
        return True, "", "", "", 0.0
    value = score.value if score.less_is_better else -score.value
    return False, score.task, score.metric, score.split, value
