"""What training says before its first step (data, passes, time) and after its last one (whether it was long enough)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, pstdev

from sightweave.programs.training.durations import Epoch, per_step
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.trial import Trials

_FEWEST_ROWS = 10
_TENTH = 10
_FALL = 0.05
"""Share of the loss that it lost over the last third of a stage where it counts as still falling."""
_FITTED = 0.05
"""Loss in nats a token below which longer training has little left to gain."""


def start(settings: Settings, epochs: Sequence[Epoch], trials: Trials) -> list[str]:
    """Lines on what each stage will see, how often, and how long it takes.

    Args:
        settings: With steps, or minutes.
        epochs: Of each stage.
        trials: Of each stage.
    """
    lines = []
    seconds = []
    for number, (stage, epoch) in enumerate(zip(settings.stages, epochs, strict=True)):
        each = trials.seconds_of(number)
        known = 60 * stage.minutes if stage.minutes is not None else each and each * (stage.steps or 0)
        seconds.append(known or None)
        lines.append(f"stage {stage.name}: {_extent(stage, epoch)}{_about(known)}")
    if len(seconds) > 1 and all(seconds):
        lines.append(f"training takes{_about(sum(one for one in seconds if one)).removeprefix(',')} in all")
    return [line for line in (*lines, trials.to_text()) if line]


def _extent(stage: Stage, epoch: Epoch) -> str:
    data = f"{_count(epoch.pictures)} images with {_count(epoch.samples)} samples"
    passes = epoch.passes(stage)
    if passes is None:
        return f"{stage.minutes:g} minutes on {data}"
    images = (stage.steps or 0) * per_step(stage)
    if images < epoch.pictures:  # most of all where they are made when asked for, and there is no end of them
        return f"{stage.steps:,} steps on {images:,} of {data}"
    return f"{stage.steps:,} steps, {round(passes, 1):g} passes over {data}"


def _count(number: float) -> str:
    return f"{round(number):,}"


def _about(seconds: float | None) -> str:
    return f", about {duration(seconds)}" if seconds else ""


def duration(seconds: float) -> str:
    """A time for a reader: ``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def still_falling(losses: Sequence[float]) -> tuple[float, float] | None:
    """The loss two thirds into a stage and at its end, where it was still clearly falling; None where it was not.

    Each is the mean of a tenth of the rows. The fall must be larger than what chance makes of the rows' spread.

    Args:
        losses: Mean loss of each row of the log, in order.
    """
    if len(losses) < _FEWEST_ROWS or not all(map(math.isfinite, losses)):
        return None
    width = max(2, len(losses) // _TENTH)
    middle = 2 * len(losses) // 3
    before, after = losses[middle - width // 2 : middle - width // 2 + width], losses[-width:]
    first, last = fmean(before), fmean(after)
    spread = math.hypot(pstdev(before), pstdev(after)) / math.sqrt(width)
    is_falling = last > _FITTED and first - last > max(_FALL * first, 2 * spread)
    return (first, last) if is_falling else None


def advice(settings: Settings, losses: Sequence[Sequence[float]]) -> Iterator[str]:
    """Lines on stages that ended too early, with the settings that train them longer.

    Args:
        settings: With the steps that were made.
        losses: Rows of each stage.
    """
    found = {number: fall for number, rows in enumerate(losses) if (fall := still_falling(rows)) is not None}
    longer = []
    for number, (before, after) in found.items():
        stage = settings.stages[number]
        yield (
            f"the loss was still falling when stage {stage.name} ended ({before:.3g} -> {after:.3g} over its last third); "
            "longer training may help"
        )
        if stage.steps is not None:
            longer.append(f"train.stages.{number}.steps={2 * stage.steps}")
    if longer:
        yield f"try: {' '.join(longer)}"
