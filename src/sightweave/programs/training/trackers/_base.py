"""The interface of a tracker."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from sightweave.core.errors import BackendError

State = Literal["finished", "interrupted", "failed"]
"""How training ended."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a tracker is told about a run when training begins."""

    folder: Path
    """The run's folder."""
    title: str
    """The recipe's title; may be empty."""
    recipe: Mapping[str, Any]
    """The resolved recipe as plain data."""
    id: str = ""
    """The tracker's own id of this run, to resume it; empty for a new run."""

    @property
    def name(self) -> str:
        """Name for display: that of the folder."""
        return self.folder.resolve().name


class Tracker(Protocol):
    """A tracker. Its ``Config`` has a method ``build`` that takes no arguments and returns one that has not started.

    `build` raises `BackendError` if the tracker's package is not installed. Any method may raise any error of that package.
    """

    def start(self, run: TrackedRun) -> str:
        """Begins to track a run, or resumes it, and returns the tracker's id of it."""
        ...

    @property
    def place(self) -> str:
        """Where the tracked run can be seen, such as a URL or a folder; known after `start`."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds numbers by name at a step, counted from 0."""
        ...

    def finish(self, state: State, *, scores: Mapping[str, float], report: Path | None) -> None:
        """Ends the run.

        Args:
            state: How training ended.
            scores: Scores by name, such as ``scores/test/vqa``; empty if nothing was evaluated.
            report: The run's HTML report; None if there is none.
        """
        ...


def require(package: str) -> None:
    """Raises `BackendError` if a tracker's package is not installed. The package is not imported."""
    found = importlib.util.find_spec(package)
    # A folder of this name in the working folder, such as W&B makes, is found too, but has no file.
    if found is None or found.origin is None:
        raise BackendError(
            f"train.trackers: {package} is not installed; run `pip install {package}`, or remove it from train.trackers."
        )
