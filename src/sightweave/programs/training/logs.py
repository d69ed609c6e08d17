"""The logs of a training run: metrics.jsonl, TensorBoard events and a progress line."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
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


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """What training has reached when it writes a row of the log. Speeds and the loss are means since the row before."""

    step: int
    """Number of steps done over all stages."""
    planned_steps: int
    """Expected number of steps over all stages."""
    stage: str
    """Name of the stage."""
    loss: float | None
    """Training loss; None if the stage has not logged any yet."""
    lr: float | None
    """Learning rate; None if the row has none."""
    samples_per_second: float | None
    tokens_per_second: float | None
    waiting_share: float | None
    """Share of the time that the loop waited for data, from 0 to 1."""
    peak_memory_bytes: float | None
    """Largest amount of memory so far: of the process, or on a CUDA device."""
    seconds_left: float | None
    """Seconds left at the current speed; None while it is unknown."""
    values: Mapping[str, float | str]
    """The whole row, as in ``metrics.jsonl``."""


Report = Callable[[TrainingProgress], None]
"""Called with each row of the log."""


class RunLog:
    """Writes rows of numbers to metrics.jsonl, TensorBoard and the progress line; a context manager.

    Args:
        folder: Run folder, created if it is missing. Rows are appended to existing ones.
        steps: Number of steps of the run, for the time left.
        first_step: First step to train, when resumed; existing rows of this step and later ones are dropped.
        console: Where progress is shown; None does not show it.
        title: Text before the progress bar.
        report: Called with each row after it was written. If it raises, training is asked to stop, and the error is kept
            for `raise_failure`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        steps: int,
        first_step: int = 0,
        console: Console | None = None,
        title: str = "train",
        report: Report | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = MetricsFile(folder / METRICS, first_step=first_step)
        self._events = EventsFile(folder, first_step=first_step)
        self.progress = ProgressLine(steps=steps, first_step=first_step, console=console, title=title)
        self.stop: list[int] = []
        """The stop requests of `stop_signals`, to which a failed report adds one."""
        self._report = report
        self._failure: BaseException | None = None

    def write(self, step: int, values: Mapping[str, float | str], *, progress: bool = True) -> None:
        """Writes one row: numbers by name, and texts such as the stage, which TensorBoard does not get."""
        self._metrics.write(step, values)
        self._events.write(step, values)
        if progress:
            self.progress.update(step, values)

        if self._report is not None and self._failure is None:
            try:
                self._report(self._state_of(step, values))
            except BaseException as error:  # training saves first; raise_failure raises it again
                self._failure = error
                self.stop.append(signal.SIGINT)

    def raise_failure(self) -> None:
        """Raises the error of a failed report, once training has saved."""
        if self._failure is not None:
            raise self._failure

    def _state_of(self, step: int, values: Mapping[str, float | str]) -> TrainingProgress:
        names = ("lr", "samples_per_second", "tokens_per_second", "waiting_share", "peak_memory_bytes")
        numbers = {name: _number_of(values.get(name)) for name in names}
        return TrainingProgress(
            step=step + 1,
            planned_steps=self.progress.steps,
            stage=self.progress.stage,
            loss=self.progress.loss,
            seconds_left=self.progress.seconds_left,
            values=dict(values),
            **numbers,
        )

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


def _number_of(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, int | float) else None


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
    samples: int = 0
    waiting: float = 0.0
    """Time that the loop waited for its input, in seconds."""

    def add(self, *, loss: float, norm: float, tokens: int, pictures: int, samples: int = 0) -> None:
        """Adds one update."""
        self.steps += 1
        self.loss += loss
        self.norm += norm
        self.tokens += tokens
        self.pictures += pictures
        self.samples += samples

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
            "samples_per_second": self.samples / seconds,
            "waiting_share": min(1.0, self.waiting / seconds),
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
    """Step, stage, loss, speed, memory and time left: a live line in a terminal, a line now and then in a log, or nothing.

    The loss and the speeds are those of the latest row, means over the steps since the row before. The loss starts again
    with each stage, whose loss may be of another kind.

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
        self._row: Mapping[str, float | str] = {}
        self._done = first_step
        self._rate = Rate(first_step)
        self._line = LiveLine(console)
        self._line.start(title, steps, done=first_step)

    def update(self, step: int, values: Mapping[str, float | str]) -> None:
        """Shows that `step` (counted from 0) is done, and the numbers of the row that it has a place for."""
        stage = str(values.get("stage", self.stage))
        if stage != self.stage:
            # Keep the last line of the stage, with its final loss.
            self._line.leave()
            self.stage, self.loss, self.validation_loss, self._rate.value = stage, None, None, None

        self._row = {**self._row, **values}
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
        """Losses, rate, time left, speeds and memory, as far as they are known; the end may not fit into a terminal."""
        where = f"{self.stage}: " if self.stage else ""
        parts = [] if self.loss is None else [f"{where}loss {self.loss:.3f}"]
        if self.validation_loss is not None:
            parts.append(f"validation loss {self.validation_loss:.3f}")
        if self.rate is not None and self.seconds_left is not None:
            parts += [f"{self.rate:.2f} steps/s", f"{clock(self.seconds_left)} left"]

        for name, form in _SHOWN.items():
            value = self._row.get(name)
            has_none = name == "tokens_per_second" and not value  # a stage that learns words reads no text
            if isinstance(value, int | float) and math.isfinite(value) and not has_none:
                parts.append(form(value))
        return ", ".join(parts)

    def close(self) -> None:
        """Closes the live line."""
        self._line.close()


def _amount(value: float) -> str:
    """A number of at least three digits: ``3,412`` or ``0.123``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_SHOWN: Mapping[str, Callable[[float], str]] = {
    "samples_per_second": lambda value: f"{_amount(value)} samples/s",
    "tokens_per_second": lambda value: f"{_amount(value)} tokens/s",
    "waiting_share": lambda value: f"{value:.0%} waiting for data",
    "peak_memory_bytes": lambda value: f"{value / 1e9:.2f} GB",
}
"""Numbers of a row that the progress line shows after the loss and the time left, with their texts."""
