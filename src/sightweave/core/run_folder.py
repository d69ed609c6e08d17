"""A run's folder from outside: the content of ``run.json``, and whether there is a run. Imports nothing slow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightweave.core import bounded, files
from sightweave.core.bounded import UnreadableError
from sightweave.core.errors import CheckpointError, FolderError

CHECKPOINT, FACTS = "checkpoint", "run.json"
TITLE, BEGAN, FAILURE = "title", "began", "failure"
"""Keys of ``run.json``: the recipe's title, when training began (ISO 8601, UTC), and the error that ended it."""
TRACKERS = "trackers"
"""Key of ``run.json``: the id of the run in each experiment tracker."""
_RESULTS = ("evaluation.json", "comparison.json")
"""Results of slow commands other than training."""
_MOST_FACTS_BYTES = 8 << 20


def facts_of(folder: Path) -> dict[str, Any]:
    """The content of ``run.json``; empty if there is none.

    Raises:
        CheckpointError: it is not a JSON object, or too large.
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
    """A sentence if ``run.json`` says that training did not reach its last step; empty if it did."""
    if not known.get("interrupted"):
        return ""

    steps, planned = known.get("steps"), known.get("steps_planned")
    of = f" of {planned:,}" if isinstance(planned, int) and planned else ""
    where = f"after step {steps:,}{of}" if isinstance(steps, int) and steps else "before its first checkpoint"
    return f"training is unfinished: it was interrupted {where}"


def refuse_results(folder: Path) -> None:
    """Raises `FolderError` if a folder that we wrote contains results that took time to compute."""
    hint = "choose another folder, or replace it with --overwrite (overwrite=True)."
    if files.whole(folder / CHECKPOINT).is_dir():
        note = unfinished(facts_of(folder))
        raise FolderError(f"{folder}: already holds a trained run; {hint}{note and ' '}{note}")

    found = files.present(folder, _RESULTS)
    if found:
        raise FolderError(f"{folder}: holds the results of an earlier command ({', '.join(found)}); {hint}")
