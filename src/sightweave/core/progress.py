"""A progress line for long tasks.

On a terminal and in a notebook the line is updated in place. In a log file or a pipe, a new plain line is printed from time
to time.
"""

from __future__ import annotations

import math
import sys
import time
import uuid
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Column
from rich.text import Text

from sightweave.core import terminal
from sightweave.core.terminal import visible

LOG_SECONDS = 10.0
_NOTEBOOK_SECONDS = 0.3
"""Minimum seconds between two updates in a notebook, where each update is a message to the browser."""


class _Counts(MofNCompleteColumn):
    def render(self, task: Task) -> Text:
        return Text("") if task.total is None else super().render(task)


class _Note(ProgressColumn):
    """The text after the counts, whose end is cut off on a narrow terminal; the title, bar and counts are not cut."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


class LiveLine:
    """A progress line, as a context manager that closes the line at its end.

    Args:
        console: Console for the line; None shows nothing.
        transient: Whether the line disappears from a terminal when it is closed.
        log_seconds: Minimum seconds between two lines where the line cannot be updated in place.
    """

    def __init__(
        self, console: Console | None, *, transient: bool = False, log_seconds: float = LOG_SECONDS
    ) -> None:
        self._console, self._log_seconds = console, log_seconds
        self._title, self._note = "", ""
        self._done, self._total = 0, 0
        self._is_begun = self._is_waiting = False
        self._rate = Rate()
        self._shown = time.perf_counter()

        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._notebook = None
        if console is not None and terminal.is_notebooks(console):
            self._notebook = terminal.notebook()
        self._display = self._published = ""

        if console is not None and self._notebook is None and console.is_interactive:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(max(10, min(40, console.width // 5)), table_column=Column(no_wrap=True)),
                _Counts(table_column=Column(no_wrap=True)),
                _Note(),
                console=console,
                transient=transient,
                # On a terminal, other output must go above the line; output to a file or a pipe must not be redirected.
                redirect_stdout=terminal.is_tty(sys.stdout),
            )
            self._bar.start()

    def start(self, title: str, total: int | None, *, done: int = 0) -> None:
        """Starts a new task, which replaces the previous one in the line.

        Args:
            title: Text before the counts.
            total: Number of steps; None if unknown, in which case no counts are shown.
            done: Number of steps that are already done.
        """
        self._title, self._note = title, ""
        self._done, self._total = done, total or 0
        self._is_begun = self._is_waiting = False
        self._rate = Rate(done)

        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._task = self._bar.add_task(visible(title), total=total, completed=done, note="")

    def update(self, done: int, *, total: int | None = None, note: str = "", now: bool = False) -> None:
        """Sets the number of completed steps and shows it.

        Args:
            done: Number of completed steps.
            total: Total number of steps, if it has changed.
            note: Text after the counts.
            now: Whether to update a log or a notebook even if the last update was very recent.
        """
        self._done, self._note = done, note
        self._is_begun = self._is_waiting = True
        self._total = self._total if total is None else total

        if self._bar is not None:
            known = {} if total is None else {"total": total}
            self._bar.update(self._task, completed=done, note=visible(note), **known)  # type: ignore[arg-type]  # by name
        elif self._console is not None:
            passed = time.perf_counter() - self._shown
            if self._notebook is not None:
                if now or passed > _NOTEBOOK_SECONDS or not self._display:
                    self._publish()
            elif now or passed > self._log_seconds:
                self.leave()

    def advance(self, count: int, unit: str) -> None:
        """Adds to the number of completed steps, and shows the rate and the remaining time.

        Args:
            count: Number of newly completed steps.
            unit: Plural name of the steps, such as ``prompts``.
        """
        done = self._done + count
        self._rate.update(done)

        parts = []
        if not self._total:
            parts.append(f"{done} {unit}")
        if self._rate.value is not None:
            parts.append(f"{self._rate.value:.0f} {unit}/s")
            left = (self._total - done) / self._rate.value
            if left > 0:
                parts.append(f"{clock(left)} left")

        self.update(done, note=", ".join(parts))

    def finish(self) -> None:
        """Shows the task as completed, whatever its count."""
        if self._is_begun:
            self.update(self._total)

    def leave(self) -> None:
        """Prints the current state as a permanent line above later output, unless this state was already printed."""
        if self._console is None:
            return
        if self._notebook is not None:
            if self._is_waiting:
                self._publish()
            self._display = ""  # keep this line; the next update starts a new output
            return
        if not self._is_waiting:
            return

        self._shown, self._is_waiting = time.perf_counter(), False
        self._console.print(self._text(), highlight=False, markup=False, soft_wrap=True)

    def _text(self) -> str:
        counts = f" {self._done}/{self._total}" if self._total else ""
        return visible(f"{self._title}{counts} {self._note}".rstrip())

    def _publish(self) -> None:
        """Sends the line to the notebook: the first time as a new output, later as an update of that output."""
        text = self._text()
        self._shown, self._is_waiting = time.perf_counter(), False
        if self._display and text == self._published:
            return

        is_new = not self._display
        self._display = self._display or uuid.uuid4().hex
        self._published = text

        assert self._notebook is not None
        self._notebook.display_pub.publish(
            data={"text/plain": text}, transient={"display_id": self._display}, update=not is_new
        )

    def close(self) -> None:
        """Ends the line; later calls show nothing."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif self._notebook is not None and self._is_waiting:
            self._publish()
        self._console = self._notebook = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Rate:
    """Rate of a task in steps per second, as an exponential moving average.

    Args:
        done: Number of steps that are already done.
        newest: Weight of the newest measurement, from 0 to 1.
    """

    def __init__(self, done: int = 0, *, newest: float = 0.1) -> None:
        self.value: float | None = None
        """Steps per second; None if not known yet."""
        self._newest = newest
        self._done, self._time = done, time.perf_counter()

    def update(self, done: int) -> None:
        """Updates the average with the number of steps that are done now."""
        now = time.perf_counter()
        if done <= self._done or now <= self._time:
            return

        rate = (done - self._done) / (now - self._time)
        is_first = self.value is None or not math.isfinite(self.value)
        self.value = rate if is_first else (1 - self._newest) * (self.value or 0.0) + self._newest * rate
        self._done, self._time = done, now


def clock(seconds: float) -> str:
    """Formats a duration in minutes and seconds, such as ``3:07``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def wanted(console: Console | None, progress: bool | None) -> Console | None:
    """The console on which a command shows its progress, or None if it shows none.

    Args:
        console: The caller's own console, which is preferred; None creates one if needed.
        progress: True to show progress, False to show none; None shows it only on a terminal or in a notebook.
    """
    if progress is False:
        return None

    if console is not None:
        return console

    is_watched = terminal.notebook() is not None or terminal.is_tty(sys.stderr)
    return terminal.console(stderr=True) if progress or is_watched else None
