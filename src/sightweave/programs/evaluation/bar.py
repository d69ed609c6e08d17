"""Progress bar of an evaluation: one line that shows the current pass and its rate."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console

from sightweave.core.progress import LiveLine


class PassesBar:
    """Shows the progress of the current pass; cached and equal prompts are not counted.

    Args:
        console: Console to print to; None shows nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._line: LiveLine | None = None

    def __enter__(self) -> PassesBar:
        """Starts a split."""
        self._line = LiveLine(self._console, transient=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the split, with the last pass shown as complete if there was no error."""
        if self._line is not None:
            if error is None:
                self._line.finish()
            self._line.close()
        self._line = None

    def start(self, name: str, count: int) -> None:
        """Starts a pass with this number of prompts."""
        if self._line is not None:
            self._line.start(name.replace("_", " "), count)

    def advance(self, count: int) -> None:
        """Adds this number of new answers."""
        if self._line is not None:
            self._line.advance(count, "prompts")
