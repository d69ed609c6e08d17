"""Comparisons of many trained runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from sightweave.comparison import compare as comparison
from sightweave.comparison.results import Comparison
from sightweave.core import old_names
from sightweave.core.errors import RecipeError
from sightweave.core.progress import LiveLine, wanted
from sightweave.verbs.sources import (
    say,
    with_data,
)

_RUNS_SECONDS = 600.0
"""Time between two log lines about the active runs of a comparison."""


@old_names.accepts(at_once="jobs")
def compare(  # one argument for each option of the command
    recipe: str | Path,
    *settings: str,
    out: str | Path,
    data: Any = None,
    minutes: float | None = None,
    tokens: float | None = None,
    against: str | None = None,
    jobs: int = 1,
    threads: int | None = None,
    progress: bool | None = None,
    console: Console | None = None,
) -> Comparison:
    """Trains and scores every combination of settings, and writes ``comparison.json``, ``.md``, ``.svg`` and ``.html``.

    The same call resumes where it was stopped.

    Args:
        recipe: A YAML file.
        settings: ``path=value`` for all runs, ``path=value,value`` for an axis of the grid.
        out: A folder; each run gets a folder inside it.
        data: Used instead of the recipe's sources: a path, a source as in a recipe, or a list of these.
        minutes: Approximate training time of each run, estimated from a trial of each composition; None keeps the
            recipe's steps.
        tokens: Approximate number of training tokens of each run, instead of `minutes`.
        against: The composition that the others are compared with, such as ``concat-cnn``; by default the first.
        jobs: Number of runs at the same time, each in its own process.
        threads: Threads of each run; None keeps the recipe's value.
        progress: As for `train`: shows runs that start and end, and how long each has been running.
        console: As for `train`.

    Raises:
        RecipeError: a mistake in the recipe or in a setting, found before anything is trained.
        ComparisonError: a run failed.
        DataError: a run's files cannot be read, or two runs answered different samples.
    """
    _, settings, records = with_data(recipe, settings, data)
    if records is not None:
        raise RecipeError(
            "data: each run is trained by a process of its own, which cannot be given rows; write them to a data.jsonl."
        )

    console = wanted(console, progress)
    with LiveLine(console, transient=True, log_seconds=_RUNS_SECONDS) as line:
        line.start("runs", None)
        return comparison.compare(
            recipe,
            settings,
            out=Path(out),
            minutes=minutes,
            tokens=tokens,
            against=against,
            at_once=jobs,
            threads=threads,
            say=lambda text: say(console, text),
            progress=lambda done, total, note: line.update(done, total=total, note=note),
        )
