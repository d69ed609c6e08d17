"""A tracker as a user's own module: it keeps what it is given, and fails where a test wants it to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightweave.core.config import config

CALLS: list[tuple[Any, ...]] = []
"""All calls since a test cleared it."""


@config
class Config:
    """Settings."""

    fails_at: str = ""
    """Method that raises."""

    def build(self) -> Recording:
        """A tracker that has not started."""
        return Recording(self.fails_at)


class Recording:
    """Keeps its calls."""

    def __init__(self, fails_at: str) -> None:
        self.fails_at = fails_at

    def _note(self, name: str, *values: Any) -> None:
        CALLS.append((name, *values))
        if name == self.fails_at:
            raise LookupError(f"{name} does not work")

    def start(self, run: Any) -> str:
        """Returns the id, which is new if there is none."""
        self._note("start", run)
        return run.id or "id-1"

    @property
    def place(self) -> str:
        """Where it is."""
        return "here"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keeps a row."""
        self._note("log", step, dict(values))

    def finish(self, state: str, *, scores: Mapping[str, float], report: Path | None) -> None:
        """Keeps the end."""
        self._note("finish", state, dict(scores), report)
