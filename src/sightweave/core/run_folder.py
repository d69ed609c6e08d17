"""Reads the facts in a run folder's ``run.json``, and protects existing results. Imports nothing slow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from sightweave.core import bounded, files
from sightweave.core.bounded import UnreadableError
from sightweave.core.errors import CheckpointError, FolderError

CHECKPOINT, FACTS = "checkpoint", "run.json"
CHECKPOINTS = "checkpoints"
"""Folder in a run's folder that holds the states from which interrupted training can resume."""
TITLE, BEGAN, FAILURE = "title", "began", "failure"
"""Keys of ``run.json``: the recipe's title, the start time of training (ISO 8601, UTC), and the error that ended it."""
TRACKERS = "trackers"
"""Key of ``run.json``: the id of the run in each experiment tracker."""
GIVEN = "recipe_given"
"""Key of ``run.json`` for the whole recipe as the user gave it. Resumed training must use the same recipe."""
_RESULTS = ("evaluation.json", "comparison.json")
"""Files with the results of slow commands other than training."""
_MOST_FACTS_BYTES = 8 << 20


def facts_of(folder: Path) -> dict[str, Any]:
    """Reads ``run.json`` in a run folder; returns an empty dict if the file does not exist.

    Raises:
        CheckpointError: The file is not a JSON object, or too large.
    """
    path = folder / FACTS
    if not path.exists():
        return {}

    try:
        known = bounded.parsed(path, most=_MOST_FACTS_BYTES)
    except UnreadableError as error:
        raise CheckpointError(f"{path}: {error} Copy the folder again.") from error
    if not isinstance(known, dict):
        raise CheckpointError(
            f"{path}: expected a JSON object (got {type(known).__name__}); remove the file."
        )
    return known


def unfinished(known: Mapping[str, Any]) -> str:
    """A clause for messages if training was interrupted according to ``run.json``; empty if it was not."""
    if not known.get("interrupted"):
        return ""

    steps, planned = known.get("steps"), known.get("steps_planned")
    of = f" of {planned:,}" if isinstance(planned, int) and planned else ""
    where = f"after step {steps:,}{of}" if isinstance(steps, int) and steps else "before its first checkpoint"
    return f"training is unfinished: it was interrupted {where}"


_HINT = "choose another folder, or replace it with --overwrite (overwrite=True)."


def refuse_run(folder: Path, why: str = "") -> NoReturn:
    """Raises `FolderError` for a folder that contains a run; the message gives the reason why training cannot use it."""
    notes = [one for one in (why, unfinished(facts_of(folder))) if one]
    raise FolderError(" ".join([f"{folder}: already holds a trained run; {_HINT}", *notes]))


def refuse_other_results(folder: Path) -> None:
    """Raises `FolderError` if a folder contains results of a slow command other than training."""
    found = files.present(folder, _RESULTS)
    if found:
        raise FolderError(f"{folder}: holds the results of an earlier command ({', '.join(found)}); {_HINT}")


def holds_run(folder: Path) -> bool:
    """Whether a folder contains a run with a checkpoint."""
    return files.whole(folder / CHECKPOINT).is_dir() or bool(files.present(folder / CHECKPOINTS, ("step-*",)))
