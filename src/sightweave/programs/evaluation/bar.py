"""Progress of an evaluation: one line for the pass that is going on, with its rate."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console

from sightweave.core.progress import LiveLine


class PassesBar:
    """Shows the pass that is going on; prompts that were answered before, or are equal, are not waited for.

    Args:
        console: Where it is shown; None shows nothing.
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
        """Ends it; the last pass asks only for answers that are new, and is then whole."""
        if self._line is not None:
            if error is None:
                self._line.finish()
            self._line.close()
        self._line = None

    def start(self, name: str, count: int) -> None:
        """A pass begins."""
        if self._line is not None:
            self._line.start(name.replace("_", " "), count)

    def advance(self, count: int) -> None:
        """So many answers are new."""
        if self._line is not None:
            self._line.advance(count, "prompts")
