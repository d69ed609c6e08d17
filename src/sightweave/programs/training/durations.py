"""How long each stage trains: steps as asked, steps that follow from the data, or the clock."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sightweave.data.inputs.order import Mix, Mixing
from sightweave.data.reading.dataset import Dataset, task_of
from sightweave.data.reading.subset import draw
from sightweave.data.reading.table import Table
from sightweave.programs.training.schedule import Schedule, ScheduleConfig
from sightweave.programs.training.settings import Settings, Stage

_MOST_COUNTED, _FEW_COUNTED = 2_000, 100
"""Images whose samples are counted, drawn over the whole data; few where images are made when asked and resemble one
another."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass of a stage over the data consists of."""

    pictures: float
    """Images with a sample of the stage's tasks, each as often as the mix of the sources shows it."""
    samples: float
    """Samples of the stage's tasks on them."""
    shown: float
    """Images to show until each sample was shown about once; more than `pictures` where `samples_per_image` leaves out
    some of an image's samples each time."""

    def passes(self, stage: Stage) -> float | None:
        """Epochs that a stage's steps come to; None where the clock ends it."""
        return stage.steps * per_step(stage) / self.shown if stage.steps is not None else None


def steps_of(stage: Stage, images: float) -> int:
    """Steps of a stage that counts epochs, within its bounds; one epoch shows this number of images."""
    assert stage.epochs is not None
    steps = max(1, round(stage.epochs * images / per_step(stage)))
    steps = max(steps, stage.min_steps or 1)
    return min(steps, stage.max_steps or steps)


def per_step(stage: Stage) -> int:
    """Images of one update."""
    return stage.batch_size * stage.gradient_accumulation_steps


def epochs(
    stages: Sequence[Stage], datasets: Sequence[Dataset], tasks: Mapping[str, Any], mix: Sequence[Mixing] = ()
) -> list[Epoch]:
    """The epoch of each stage; samples are counted on at most 2,000 images, the same ones on every machine.

    Args:
        stages: Which tasks they learn, and how many samples of an image at once.
        datasets: Sources of the training split.
        tasks: Task by name.
        mix: How often each source is shown.

    Raises:
        DataError: the data has no images.
    """
    total = Mix([len(one) for one in datasets], mix).total
    most = _MOST_COUNTED if all(isinstance(one, Table) for one in datasets) else _FEW_COUNTED
    counts = [_counts(datasets[source], index) for source, index in draw(datasets, most)]
    return [_epoch(stage, counts, total) for stage in stages]


def _counts(dataset: Dataset, index: int) -> dict[str, int]:
    """Samples of one image by task."""
    found: dict[str, int] = {}
    for record in dataset[index]:
        name = task_of(record)
        found[name] = found.get(name, 0) + 1
    return found


def _epoch(stage: Stage, counts: Sequence[Mapping[str, int]], total: int) -> Epoch:
    wanted = [sum(n for task, n in one.items() if not stage.tasks or task in stage.tasks) for one in counts]
    samples = [n for n in wanted if n]
    share = len(samples) / max(1, len(wanted))
    # A stage that learns words looks at images, whatever is asked about them.
    at_once = None if stage.learn == "words" else stage.samples_per_image
    shows = [max(1.0, n / at_once) if at_once else 1.0 for n in samples]
    # Data without one usable sample is refused where it is read; until then an epoch is the whole.
    pictures = total * share or total
    mean, passes = (fmean(samples), fmean(shows)) if samples else (1.0, 1.0)
    return Epoch(pictures, pictures * mean, pictures * passes)


def resolved(settings: Settings, found: Sequence[Epoch]) -> Settings:
    """The settings with steps in place of epochs; stages that the clock ends stay as they are."""
    stages = [
        stage if stage.epochs is None else in_steps(stage, steps_of(stage, epoch.shown))
        for stage, epoch in zip(settings.stages, found, strict=True)
    ]
    return dataclasses.replace(settings, stages=tuple(stages))


def in_steps(stage: Stage, steps: int) -> Stage:
    """The stage with this number of steps as its duration."""
    return dataclasses.replace(stage, steps=steps, epochs=None, minutes=None, min_steps=None, max_steps=None)


class Pace:
    """When a stage ends and which share of the peak learning rate each of its steps gets.

    A stage of steps has its `Schedule`. Where the clock ends it, that schedule is stretched over the time: at half of the
    time the rate is that of half of the steps, whatever the speed. Only the warm-up counts steps, and is over at half of
    the time at the latest.

    Args:
        stage: With steps or minutes.
        now: Seconds of a clock that never goes back.
        spent: Seconds that the stage has trained already, before it was resumed.
    """

    def __init__(
        self, stage: Stage, now: Callable[[], float] = time.monotonic, *, spent: float = 0.0
    ) -> None:
        self._now, self._began = now, now() - spent
        self._seconds = None if stage.minutes is None else 60 * stage.minutes
        self._steps = stage.steps
        self._warmup = stage.schedule.warmup_steps
        self._schedule: Schedule = _schedule(stage.schedule, stage.steps)

    @property
    def spent(self) -> float:
        """Seconds of the stage so far."""
        return self._now() - self._began

    def is_over(self, done: int) -> bool:
        """Whether the stage ends after this number of steps. It makes at least one."""
        if self._seconds is None:
            assert self._steps is not None
            return done >= self._steps
        return done > 0 and self.spent >= self._seconds

    def factor(self, step: int) -> float:
        """The share of the peak rate at `step`, counted from 0."""
        if self._seconds is None:
            return self._schedule.factor(step)
        share = min(1.0, self.spent / self._seconds)
        rise = max((step + 1) / (self._warmup + 1), 2 * share)
        return min(1.0, rise, self._schedule.factor(int(share * self._schedule.steps)))

    def expected(self, done: int) -> int:
        """Steps that the stage will have had at its end, by its speed so far."""
        if self._seconds is None:
            assert self._steps is not None
            return self._steps
        return max(done, 1, round(done * self._seconds / max(1e-9, self.spent)))


_FINE = 1_000_000
"""Steps of a schedule that is stretched over time: so many that none is seen."""


def _schedule(config: ScheduleConfig, steps: int | None) -> Schedule:
    if steps is not None:
        return config.build(steps=steps)
    return dataclasses.replace(config, warmup_steps=0).build(steps=_FINE)
