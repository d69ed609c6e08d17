"""A one-line summary of a run, from small files in its folder.

This module imports nothing slow and reads no weights. Nothing in the folder is executed or trusted: files have a maximum
size, and values of a wrong type count as missing.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightweave.core import bounded, files
from sightweave.core.errors import CheckpointError
from sightweave.core.run_folder import (
    BEGAN,
    CHECKPOINT,
    FACTS,
    FAILURE,
    TITLE,
    facts_of,
    holds_run,
    unfinished,
)

STATES = ("training", "finished", "interrupted", "failed", "damaged", "untrained", "unknown")
"""All states of a run.

- ``training``: a process is training it now.
- ``finished``: training reached its last step.
- ``interrupted``: training was stopped or killed before its last step.
- ``failed``: training ended with an error.
- ``damaged``: a file is missing, truncated or unreadable.
- ``untrained``: the run was saved without training.
- ``unknown``: the folder has a checkpoint but no ``run.json``.
"""
_EVALUATION, _METRICS = "evaluation.json", "metrics.jsonl"
_MOST_EVALUATION_BYTES, _MOST_MANIFEST_BYTES, _MOST_RECIPE_BYTES = 16 << 20, 4 << 20, 8 << 20
_TAIL_BYTES = 1 << 16
"""Number of bytes at the end of ``metrics.jsonl`` that are read to find the current step."""
_MOST_FILES = 100_000
"""Maximum number of files that are counted for the size of a run."""
_MOST_SCORES, _MOST_TEXT, _LARGEST_COUNT = 1000, 300, 1 << 53


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """The score of one task on one split."""

    split: str
    task: str
    metric: str
    value: float
    low: float | None
    """Lower end of the confidence interval; None if unknown."""
    high: float | None
    """Upper end of the confidence interval; None if unknown."""
    unit: str = ""
    """Unit: ``%`` for a fraction, which is shown multiplied by 100; otherwise the unit of `value`."""
    less_is_better: bool = False

    def to_text(self) -> str:
        """Formats the score with its interval, such as ``vqa 88.0 % (83.1..92.0)``."""
        times, digits = (100, ".1f") if self.unit == "%" else (1, ".4g")
        shown = f"{self.task} {times * self.value:{digits}}" + (f" {self.unit}" if self.unit else "")
        if self.low is None or self.high is None:
            return shown
        return f"{shown} ({times * self.low:{digits}}..{times * self.high:{digits}})"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The facts about a run that a list of runs shows."""

    folder: Path
    state: str
    """State of the run; one of `STATES`."""
    date: datetime
    """Start time of training in UTC; for runs of earlier versions, the time at which ``run.json`` was last written."""
    title: str = ""
    """The recipe's title."""
    problem: str = ""
    """Reason why the run failed, is damaged or has an unknown state; empty for other states."""
    steps: int | None = None
    """Number of completed training steps; None if unknown."""
    planned_steps: int | None = None
    """Total number of steps that training was to make; None if unknown."""
    scores: tuple[ScoreSummary, ...] = ()
    """Scores of all splits and tasks; empty if the run was not evaluated."""
    training_seconds: float | None = None
    """Wall time of training in seconds; None if unknown."""
    device: str = ""
    """Device on which the run was trained; empty if unknown."""
    parameters: int | None = None
    """Number of weights; None if unknown."""
    disk_bytes: int = 0
    """Size of all files in the folder in bytes."""

    def score(self, task: str | None = None) -> ScoreSummary | None:
        """The score of a task on the first split that has it; None if there is none.

        Args:
            task: Name of the task; None means the first one.
        """
        return next((one for one in self.scores if task in (None, one.task)), None)

    def to_json(self) -> dict[str, Any]:
        """Converts the summary to a JSON object, with the folder as ``run`` and the date in ISO 8601."""
        values = asdict(self)
        folder, date = values.pop("folder"), values.pop("date")
        return {"run": str(folder), "date": date.isoformat(), **values}


def is_run(folder: Path) -> bool:
    """Whether a folder contains a run in any state."""
    if holds_run(folder):
        return True
    if not _is_file(folder / FACTS):
        return False
    if _is_file(folder / files.MARK):
        return True
    try:
        return "format_version" in facts_of(folder)  # other programs also write files with this name
    except (CheckpointError, OSError):
        return False


def summary(folder: Path) -> RunSummary:
    """Summarises a run. Damage in its folder does not raise errors; the state is then ``damaged``."""
    problems: list[str] = []
    known = _facts(folder, problems)
    scores = _scores(folder, problems)
    is_training = files.holder(folder) == "training"
    steps, planned = _count(known.get("steps")), _count(known.get("steps_planned"))

    if is_training:
        # Files may be incomplete during training, and the counts in run.json are those of the last checkpoint.
        problems = []
        steps = max(steps or 0, _newest_step(folder))
    else:
        _check_checkpoint(folder, known, problems)

    state, problem = _state(known, is_training=is_training, problems=problems)
    return RunSummary(
        folder=folder,
        state=state,
        date=_date(folder, known),
        title=_text(known.get(TITLE)) or _title(folder),
        problem=problem,
        steps=steps,
        planned_steps=planned,
        scores=scores,
        training_seconds=_number(known.get("training_seconds")),
        device=_text(known.get("device")),
        parameters=_count(known.get("parameters")),
        disk_bytes=_bytes_in(folder),
    )


def _state(known: Mapping[str, Any], *, is_training: bool, problems: list[str]) -> tuple[str, str]:
    """The state of a run and a description of the problem, which is empty if there is none."""
    if is_training:
        return "training", ""
    if problems:
        return "damaged", " ".join(problems)
    if not known:
        return "unknown", f"has no {FACTS}."
    if known.get(FAILURE):
        return "failed", _text(known[FAILURE])
    if unfinished(known):
        return "interrupted", ""
    return ("untrained" if known.get("steps") == 0 else "finished"), ""


def _facts(folder: Path, problems: list[str]) -> dict[str, Any]:
    """The content of ``run.json``; if it cannot be read, adds a problem and returns an empty dict."""
    try:
        return facts_of(folder)
    except (CheckpointError, OSError) as error:
        problems.append(str(error))
        return {}


def _check_checkpoint(folder: Path, known: Mapping[str, Any], problems: list[str]) -> None:
    """Adds a problem if the checkpoint is missing after training, or if a file's size differs from the manifest."""
    inner = files.whole(folder / CHECKPOINT)
    if not inner.is_dir():
        if known and known.get("steps") and not unfinished(known) and not known.get(FAILURE):
            problems.append(f"{inner}: not found.")
        return

    manifest = inner / "manifest.json"
    try:
        document = bounded.parsed(manifest, most=_MOST_MANIFEST_BYTES)
        entries = document["files"]
        for name, entry in entries.items():
            path, expected = inner / name, entry["bytes"]
            found = path.stat().st_size if bounded.is_inside(inner, path) else None
            if found != expected:
                problems.append(f"{path}: {found} bytes (expected {expected}).")
    except (OSError, RuntimeError, ValueError) as error:  # UnreadableError is a ValueError too
        problems.append(f"{manifest}: {error}")
    except (AttributeError, LookupError, TypeError):
        problems.append(f"{manifest}: not a checkpoint manifest.")


def _scores(folder: Path, problems: list[str]) -> tuple[ScoreSummary, ...]:
    """The scores in ``evaluation.json``; if it cannot be read, adds a problem and returns an empty tuple."""
    path = folder / _EVALUATION
    if not os.path.lexists(path):
        return ()

    found: list[ScoreSummary] = []
    try:
        document = bounded.parsed(path, most=_MOST_EVALUATION_BYTES)
        for split in document["splits"]:
            for task in split["tasks"]:
                found += _score(split["split"], task)
    except (bounded.UnreadableError, OSError) as error:
        problems.append(f"{path}: {error}")
        return ()
    except (AttributeError, LookupError, TypeError):
        problems.append(f"{path}: not an evaluation.")
        return ()
    return tuple(found[:_MOST_SCORES])


def _score(split: Any, task: Mapping[str, Any]) -> list[ScoreSummary]:
    """A list with the score of one task on a split; empty if the score is not a number."""
    score, metric = task["score"], task["metric"]
    value = _number(score["value"])
    if value is None:
        return []

    facts = task.get("facts", {}).get(metric, {})
    return [
        ScoreSummary(
            split=_text(split),
            task=_text(task["task"]),
            metric=_text(metric),
            value=value,
            low=_number(score.get("low")),
            high=_number(score.get("high")),
            unit=_text(facts.get("unit", "%")),
            less_is_better=facts.get("less_is_better") is True,
        )
    ]


def _title(folder: Path) -> str:
    """The title in the checkpoint's recipe, for runs that do not have it in ``run.json``; empty if there is none."""
    try:
        recipe = bounded.parsed(files.whole(folder / CHECKPOINT) / "recipe.json", most=_MOST_RECIPE_BYTES)
    except (OSError, bounded.UnreadableError):
        return ""
    return _text(recipe.get("title")) if isinstance(recipe, dict) else ""


def _date(folder: Path, known: Mapping[str, Any]) -> datetime:
    try:
        date = datetime.fromisoformat(known[BEGAN])
        return date.astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        pass

    path = folder / FACTS if _is_file(folder / FACTS) else folder
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _newest_step(folder: Path) -> int:
    """Number of completed steps according to the last row of ``metrics.jsonl``; 0 if there is none."""
    try:
        with bounded.opened(folder / _METRICS) as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, end - _TAIL_BYTES))
            lines = stream.read(_TAIL_BYTES).splitlines()
    except (OSError, bounded.UnreadableError):
        return 0

    for line in reversed(lines):
        try:
            row = bounded.parse(line)
        except bounded.UnreadableError:  # the row is still being written, or its start was not read
            continue
        step = _count(row.get("step")) if isinstance(row, dict) else None
        if step is not None:
            return step + 1
    return 0


def _bytes_in(folder: Path) -> int:
    """Total size of all files in a folder in bytes; links are not followed."""
    total = count = 0
    waiting = [os.fspath(folder)]
    while waiting and count < _MOST_FILES:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:  # the folder was removed meanwhile, or cannot be read
            continue
    return total


def _is_file(path: Path) -> bool:
    """Whether a path is a regular file and not a link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _text(value: Any) -> str:
    """A text, cut to a maximum length; empty if the value is not a text."""
    return value[:_MOST_TEXT] if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    is_count = type(value) is int and 0 <= value < _LARGEST_COUNT
    return value if is_count else None


def _number(value: Any) -> float | None:
    """Converts a finite number to float; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer that no float can hold
        return None
