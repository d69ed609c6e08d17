"""Progress of an evaluation on the terminal: one bar for each pass, with its rate and the time left."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} prompts/s")


class PassesBar:
    """Shows the pass that is going on; prompts that were answered before, or are equal, are not waited for.

    Args:
        console: Where it is shown; None shows nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> PassesBar:
        """Starts a split."""
        if self._console is not None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._task = None

    def start(self, name: str, count: int) -> None:
        """A pass begins."""
        if self._progress is not None:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(name.replace("_", " "), total=count)

    def advance(self, count: int) -> None:
        """So many answers are new."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, count)
