"""How long each stage trains: for steps, for epochs, which are converted to steps, or by the clock."""

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
"""Maximum images whose samples are counted, sampled from all data; fewer for generated images, which are all alike."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass of a stage over the data."""

    pictures: float
    """Number of images with a sample of the stage's tasks, each counted as often as the mix of the sources shows it."""
    samples: float
    """Number of samples of the stage's tasks on these images."""
    shown: float
    """Number of images to show until each sample has been shown about once; more than `pictures` if `samples_per_image`
    leaves out some of an image's samples each time."""

    def passes(self, stage: Stage) -> float | None:
        """Number of epochs that the steps of a stage amount to; None for a stage with minutes."""
        return stage.steps * per_step(stage) / self.shown if stage.steps is not None else None


def steps_of(stage: Stage, images: float) -> int:
    """Number of steps of a stage with epochs, within its bounds; one epoch shows this number of images."""
    assert stage.epochs is not None
    steps = max(1, round(stage.epochs * images / per_step(stage)))
    steps = max(steps, stage.min_steps or 1)
    return min(steps, stage.max_steps or steps)


def per_step(stage: Stage) -> int:
    """Number of images per update."""
    return stage.batch_size * stage.gradient_accumulation_steps


def epochs(
    stages: Sequence[Stage], datasets: Sequence[Dataset], tasks: Mapping[str, Any], mix: Sequence[Mixing] = ()
) -> list[Epoch]:
    """The epoch of each stage. Samples are counted on at most 2,000 images, the same ones on every machine.

    Args:
        stages: The stages, with their tasks and samples per image.
        datasets: Sources of the training split.
        tasks: Tasks by name.
        mix: How often each source is shown.

    Raises:
        DataError: the data has no images.
    """
    total = Mix([len(one) for one in datasets], mix).total
    most = _MOST_COUNTED if all(isinstance(one, Table) for one in datasets) else _FEW_COUNTED
    counts = [_counts(datasets[source], index) for source, index in draw(datasets, most)]
    return [_epoch(stage, counts, total) for stage in stages]


def _counts(dataset: Dataset, index: int) -> dict[str, int]:
    """Number of samples of one image, by task."""
    found: dict[str, int] = {}
    for record in dataset[index]:
        name = task_of(record)
        found[name] = found.get(name, 0) + 1
    return found


def _epoch(stage: Stage, counts: Sequence[Mapping[str, int]], total: int) -> Epoch:
    """The epoch of a stage, from the samples by task of some of the `total` images."""
    samples = []
    for one in counts:
        wanted = sum(n for task, n in one.items() if not stage.tasks or task in stage.tasks)
        if wanted:
            samples.append(wanted)
    share = len(samples) / max(1, len(counts))

    # How often an image must be shown until each of its samples has been. Stages without text show whole images.
    limit = stage.samples_per_image if stage.reads_text else None
    shows = [max(1.0, n / limit) if limit else 1.0 for n in samples]

    # Data without any usable sample is rejected when it is read; until then, an epoch is all of the data.
    pictures = total * share or total
    mean, passes = (fmean(samples), fmean(shows)) if samples else (1.0, 1.0)
    return Epoch(pictures, pictures * mean, pictures * passes)


def resolved(settings: Settings, found: Sequence[Epoch]) -> Settings:
    """The settings with steps in place of epochs; stages with minutes are unchanged."""
    stages = []
    for stage, epoch in zip(settings.stages, found, strict=True):
        has_epochs = stage.epochs is not None
        stages.append(in_steps(stage, steps_of(stage, epoch.shown)) if has_epochs else stage)

    return dataclasses.replace(settings, stages=tuple(stages))


def in_steps(stage: Stage, steps: int) -> Stage:
    """The stage with this number of steps as its duration."""
    return dataclasses.replace(stage, steps=steps, epochs=None, minutes=None, min_steps=None, max_steps=None)


class Pace:
    """When a stage ends, and the fraction of the peak learning rate at each of its steps.

    A stage with steps follows its `Schedule`. For a stage with minutes the schedule is stretched over the time: after half
    of the time the rate is that after half of the steps, whatever the speed. Only the warm-up counts steps; it ends after
    half of the time at the latest.

    Args:
        stage: A stage with steps or minutes.
        now: A monotonic clock in seconds.
        spent: Seconds that the stage had trained before it was resumed.
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
        """Training time of the stage so far, in seconds."""
        return self._now() - self._began

    def pause(self, seconds: float) -> None:
        """Does not count this many of the latest seconds as training time."""
        self._began += seconds

    def is_over(self, done: int) -> bool:
        """Whether the stage ends after this number of steps; it has at least one."""
        if self._seconds is None:
            assert self._steps is not None
            return done >= self._steps
        return done > 0 and self.spent >= self._seconds

    def factor(self, step: int) -> float:
        """The fraction of the peak rate at `step`, counted from 0."""
        if self._seconds is None:
            return self._schedule.factor(step)

        share = min(1.0, self.spent / self._seconds)
        rise = max((step + 1) / (self._warmup + 1), 2 * share)
        return min(1.0, rise, self._schedule.factor(int(share * self._schedule.steps)))

    def expected(self, done: int) -> int:
        """Expected number of steps in the whole stage, judging by its speed so far."""
        if self._seconds is None:
            assert self._steps is not None
            return self._steps
        return max(done, 1, round(done * self._seconds / max(1e-9, self.spent)))


_FINE = 1_000_000
"""Number of steps of a schedule that is stretched over time, large enough to be smooth."""


def _schedule(config: ScheduleConfig, steps: int | None) -> Schedule:
    if steps is not None:
        return config.build(steps=steps)
    return dataclasses.replace(config, warmup_steps=0).build(steps=_FINE)
