"""The logs of a training run: metrics.jsonl, TensorBoard events and a progress line."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from rich.console import Console

from sightweave.core import bounded, files, json_lines
from sightweave.core.bounded import UnreadableError
from sightweave.core.progress import LiveLine, Rate, clock
from sightweave.programs.training.early_stopping import LOSS as VALIDATION_LOSS

METRICS = "metrics.jsonl"
_MOST_STEPS, _LARGEST = 1 << 53, 1e100
"""Limits of step numbers and values in metrics.jsonl; larger ones are dropped."""


class RunLog:
    """Writes rows of numbers to metrics.jsonl, TensorBoard and the progress line; a context manager.

    Args:
        folder: Run folder, created if it is missing. Rows are appended to existing ones.
        steps: Number of steps of the run, for the time left.
        first_step: First step to train, when resumed; existing rows of this step and later ones are dropped.
        console: Where progress is shown; None does not show it.
        title: Text before the progress bar.
    """

    def __init__(
        self,
        folder: Path,
        *,
        steps: int,
        first_step: int = 0,
        console: Console | None = None,
        title: str = "train",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = MetricsFile(folder / METRICS, first_step=first_step)
        self._events = EventsFile(folder, first_step=first_step)
        self.progress = ProgressLine(steps=steps, first_step=first_step, console=console, title=title)

    def write(self, step: int, values: Mapping[str, float | str], *, progress: bool = True) -> None:
        """Writes one row: numbers by name, and texts such as the stage, which TensorBoard does not get."""
        self._metrics.write(step, values)
        self._events.write(step, values)
        if progress:
            self.progress.update(step, values)

    def close(self) -> None:
        """Closes the files and the progress line."""
        self.progress.close()
        self._events.close()
        self._metrics.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class Averages:
    """Sums over the updates since the last row of the log."""

    since: float = 0.0
    """Training time of the run in seconds when the sums began."""
    steps: int = 0
    loss: float = 0.0
    norm: float = 0.0
    tokens: int = 0
    pictures: int = 0

    def add(self, *, loss: float, norm: float, tokens: int, pictures: int) -> None:
        """Adds one update."""
        self.steps += 1
        self.loss += loss
        self.norm += norm
        self.tokens += tokens
        self.pictures += pictures

    def row(self, now: float) -> dict[str, float | str]:
        """Means and rates; `now` is the training time of the run in seconds, like `since`."""
        seconds = max(1e-9, now - self.since)
        return {
            "loss": self.loss / self.steps,
            "grad_norm": self.norm / self.steps,
            "seconds": seconds,
            "steps_per_second": self.steps / seconds,
            "tokens_per_second": self.tokens / seconds,
            "pictures_per_second": self.pictures / seconds,
        }


class MetricsFile:
    """JSON lines such as ``{"step": 3, "time": 1764000000.0, "loss": 2.1}``.

    Values that are not finite are written as texts (``"nan"``, ``"inf"``), since JSON has no such numbers.

    Args:
        path: The file.
        first_step: Existing rows of this step and later ones, which were written after the last checkpoint, are dropped.
    """

    def __init__(self, path: Path, *, first_step: int = 0) -> None:
        rows = read_metrics(path) if path.exists() else []
        kept = [row for row in rows if row["step"] < first_step]
        files.write_text(path, "".join(_line(row) for row in kept))
        self._stream = path.open("a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float | str]) -> None:
        """Appends one row and flushes it."""
        plain = {key: _plain(value) for key, value in values.items()}
        self._write({"step": step, "time": round(time.time(), 3), **plain})

    def _write(self, row: Mapping[str, Any]) -> None:
        self._stream.write(_line(row))
        self._stream.flush()

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()


def _line(row: Mapping[str, Any]) -> str:
    return json_lines.dumps(row, allow_nan=False) + "\n"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``: a step, and numbers and texts by name.

    Truncated lines, rows without a step, and values that are neither numbers nor texts are skipped.

    Raises:
        OSError, DataError: the file cannot be read.
    """
    rows: list[dict[str, Any]] = []
    for _, line in json_lines.read(path):
        try:
            row = bounded.parse(line)
        except UnreadableError:
            continue

        if isinstance(row, dict) and type(row.get("step")) is int and 0 <= row["step"] < _MOST_STEPS:
            rows.append({name: value for name, value in row.items() if _is_written(value)})
    return rows


def _is_written(value: Any) -> bool:
    """Whether `MetricsFile` could have written a value."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str) or (is_number and -_LARGEST < value < _LARGEST)


def _plain(value: float | str) -> float | str:
    if isinstance(value, str):
        return value
    value = float(value)
    return value if math.isfinite(value) else str(value)


class EventsFile:
    """A TensorBoard event file, written with TensorBoard's own messages and record writer.

    Unlike torch's SummaryWriter, it never loads TensorFlow.

    Args:
        folder: Folder of the new file.
        first_step: First step to train, when resumed; TensorBoard drops the values of this step and later ones in older
            files.
    """

    def __init__(self, folder: Path, *, first_step: int = 0) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        stem = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        number = len(list(folder.glob(f"{stem}.*")))
        self._stream: IO[bytes] = (folder / f"{stem}.{number}").open("xb")
        self._records = RecordWriter(self._stream)

        self._add(self._event(wall_time=time.time(), step=first_step, file_version="brain.Event:2"))
        if first_step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._add(self._event(wall_time=time.time(), step=first_step, session_log=start))

    def write(self, step: int, values: Mapping[str, float | str]) -> None:
        """Adds the numbers of one row; texts are left out."""
        numbers = {key: value for key, value in values.items() if not isinstance(value, str)}
        scalars = [self._summary.Value(tag=key, simple_value=float(value)) for key, value in numbers.items()]
        self._add(self._event(wall_time=time.time(), step=step, summary=self._summary(value=scalars)))

    def picture(self, step: int, tag: str, png: bytes, *, size: tuple[int, int], about: str = "") -> None:
        """Adds an image.

        Args:
            step: Training step.
            tag: Name of the image; the text before a slash is its group.
            png: Bytes of a PNG file.
            size: Width and height in pixels.
            about: Description in Markdown.
        """
        width, height = size
        image = self._summary.Image(width=width, height=height, colorspace=3, encoded_image_string=png)
        value = self._summary.Value(tag=tag, image=image)
        value.metadata.summary_description = about
        self._add(self._event(wall_time=time.time(), step=step, summary=self._summary(value=[value])))

    def _add(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
        self._stream.flush()

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ProgressLine:
    """Step, stage, loss, rate and time left: a live line in a terminal, a line now and then in a log, or nothing.

    The loss is that of the latest row, a mean over the steps since the row before. It starts again with each stage, whose
    loss may be of another kind.

    Args:
        steps: Number of steps of the run; may be changed later.
        first_step: First step to train, when resumed.
        console: Where the loss is shown; None shows nothing.
        title: Text before the progress bar.
    """

    def __init__(
        self, *, steps: int, first_step: int = 0, console: Console | None = None, title: str = "train"
    ) -> None:
        self.steps = steps
        self.stage = ""
        """Stage of the latest row."""
        self.loss: float | None = None
        """Loss of the latest row."""
        self.validation_loss: float | None = None
        """Loss of the latest validation of the stage."""
        self._done = first_step
        self._rate = Rate(first_step)
        self._line = LiveLine(console)
        self._line.start(title, steps, done=first_step)

    def update(self, step: int, values: Mapping[str, float | str]) -> None:
        """Shows that `step` (counted from 0) is done; reads ``stage``, ``loss`` and ``validation_loss`` from the row."""
        stage = str(values.get("stage", self.stage))
        if stage != self.stage:
            # Keep the last line of the stage, with its final loss.
            self._line.leave()
            self.stage, self.loss, self.validation_loss, self._rate.value = stage, None, None, None

        self._done = max(self._done, step + 1)
        self._rate.update(step + 1)
        loss = values.get("loss")
        if isinstance(loss, int | float):
            self.loss = float(loss)
        validated = values.get(VALIDATION_LOSS)
        if isinstance(validated, int | float):
            self.validation_loss = float(validated)

        self._line.update(step + 1, total=self.steps, note=self.note(), now=step + 1 == self.steps)

    @property
    def rate(self) -> float | None:
        """Steps per second over the latest steps."""
        return self._rate.value

    @property
    def seconds_left(self) -> float | None:
        """Seconds left at the current rate; None while it is unknown."""
        return None if not self.rate else (self.steps - self._done) / self.rate

    def note(self) -> str:
        """Losses, rate and time left, as far as they are known."""
        where = f"{self.stage}: " if self.stage else ""
        parts = [] if self.loss is None else [f"{where}loss {self.loss:.3f}"]
        if self.validation_loss is not None:
            parts.append(f"validation loss {self.validation_loss:.3f}")
        if self.rate is not None and self.seconds_left is not None:
            parts += [f"{self.rate:.2f} steps/s", f"{clock(self.seconds_left)} left"]
        return ", ".join(parts)

    def close(self) -> None:
        """Closes the live line."""
        self._line.close()
