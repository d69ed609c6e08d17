"""The lines printed before the first step (data, passes, time) and after the last one (whether to train longer)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, pstdev

from sightweave.programs.training.durations import Epoch, per_step
from sightweave.programs.training.early_stopping import Validated
from sightweave.programs.training.rates import batch_factor
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.trial import Trials

_FEWEST_ROWS = 10
_TENTH = 10
_FALL = 0.05
"""Fraction that the loss must fall over the last third of a stage to count as still falling."""
_FITTED = 0.05
"""Loss in nats per token below which longer training gains little."""


def start(settings: Settings, epochs: Sequence[Epoch], trials: Trials, *, processes: int = 1) -> list[str]:
    """Lines on the data of each stage, the number of passes over it, the effective batch, and the time.

    Args:
        settings: Settings with steps or minutes for each stage.
        epochs: Epoch of each stage.
        trials: Trials of the stages.
        processes: Number of processes that share each batch.
    """
    lines = []
    seconds = []
    for number, (stage, epoch) in enumerate(zip(settings.stages, epochs, strict=True)):
        each = trials.seconds_of(number)
        if stage.minutes is not None:
            known: float | None = 60 * stage.minutes
        else:
            known = each * (stage.steps or 0) if each else None
        seconds.append(known or None)
        lines.append(f"stage {stage.name}: {_extent(stage, epoch, processes)}{_about(known)}")

    known_seconds = [one for one in seconds if one is not None]
    if len(seconds) > 1 and len(known_seconds) == len(seconds):
        lines.append(f"training takes{_about(sum(known_seconds)).removeprefix(',')} in all")
    return [line for line in (*lines, *scaling(settings), trials.to_text()) if line]


def effective_batch(stage: Stage, *, processes: int = 1) -> str:
    """The number of images per update, and what it is made of: ``8 images (batch_size 4 x ...)``.

    Args:
        stage: The stage.
        processes: Number of processes; they share the batch, so that it does not grow with their number.
    """
    count, accumulated = per_step(stage), stage.gradient_accumulation_steps
    made_of = ""
    if accumulated > 1:
        made_of = f"batch_size {stage.batch_size} x gradient_accumulation_steps {accumulated}"
    if processes > 1:
        made_of += f"{', ' if made_of else ''}shared by {processes} processes"
    return f"{_images(count)} ({made_of})" if made_of else _images(count)


def scaling(settings: Settings) -> Iterator[str]:
    """A line on the learning rate of each stage if the size of its batch scales it."""
    if settings.scale_lr == "none":
        return
    for stage in settings.stages:
        lr, factor = stage.optimizer.lr, batch_factor(settings, stage)
        yield (
            f"stage {stage.name}: learning rate {lr * factor:.3g} = {lr:.3g} x {factor:.3g} (scale_lr {settings.scale_lr}, "
            f"{per_step(stage)} images per update, base_batch_size {settings.base_batch_size})"
        )


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"


def _extent(stage: Stage, epoch: Epoch, processes: int) -> str:
    data = f"{_count(epoch.pictures)} images with {_count(epoch.samples)} samples"
    passes, batch = epoch.passes(stage), effective_batch(stage, processes=processes)
    if passes is None:
        return f"{stage.minutes:g} minutes with steps of {batch}, on {data}"
    images = (stage.steps or 0) * per_step(stage)
    if images < epoch.pictures:  # typically generated images, whose number is unlimited
        return f"{stage.steps:,} steps of {batch}, on {images:,} of {data}"
    return f"{stage.steps:,} steps of {batch}, {round(passes, 1):g} passes over {data}"


def _count(number: float) -> str:
    return f"{round(number):,}"


def _about(seconds: float | None) -> str:
    return f", about {duration(seconds)}" if seconds else ""


def duration(seconds: float) -> str:
    """A time as text: ``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def still_falling(losses: Sequence[float]) -> tuple[float, float] | None:
    """The loss after two thirds of a stage and at its end if it was still clearly falling, otherwise None.

    Each is the mean of a tenth of the rows. The fall must be larger than chance would explain, given the spread of the rows.

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


def restoring(
    settings: Settings, validations: Sequence[Sequence[Validated]], kept_steps: Sequence[int]
) -> Iterator[str]:
    """A line on each stage that learns image_tokens: how well the validation images are restored from their codes.

    Args:
        settings: Settings with the stages.
        validations: The validations of each stage.
        kept_steps: For each stage, the number of updates of the weights that it ended with.
    """
    for stage, found, step in zip(settings.stages, validations, kept_steps, strict=False):
        ended = [one for one in found if one.step == step and one.measures]
        if not ended:
            continue
        measures = ended[-1].measures
        ssim = f", SSIM {measures['ssim']:.3f}" if "ssim" in measures else ""
        yield (
            f"stage {stage.name}: validation images are restored from their codes with a PSNR of {measures['psnr']:.1f} dB"
            f"{ssim}; they have {measures['codes_used']:,.0f} different codes"
        )


def advice(settings: Settings, losses: Sequence[Sequence[float]]) -> Iterator[str]:
    """Lines on stages that ended too early, with the settings that train them longer.

    Args:
        settings: Settings with the steps that were taken.
        losses: Mean losses of the rows of each stage.
    """
    longer = []
    for number, rows in enumerate(losses):
        fall = still_falling(rows)
        if fall is None:
            continue
        stage, (before, after) = settings.stages[number], fall
        yield (
            f"the loss was still falling when stage {stage.name} ended ({before:.3g} -> {after:.3g} over its last third); "
            "longer training may help"
        )
        if stage.steps is not None:
            longer.append(f"train.stages.{number}.steps={2 * stage.steps}")

    if longer:
        yield f"try: {' '.join(longer)}"
