"""Tries each stage on this machine, to measure the time of a step and the memory of the process."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sightweave.core.device import Precision
from sightweave.models.adapters import lora, quantization
from sightweave.models.parts import enter_training, named_parts
from sightweave.models.vlm import VLM
from sightweave.programs.forecasting import timing
from sightweave.programs.forecasting.forecast import StageForecast
from sightweave.programs.forecasting.stages import with_time
from sightweave.programs.forecasting.timing import Clock, StepTime
from sightweave.programs.forecasting.workload import Workload
from sightweave.programs.training import trial
from sightweave.programs.training.feature_cache import FeatureCache
from sightweave.programs.training.settings import Settings
from sightweave.programs.training.work import prepare

_REHEARSAL_SECONDS = 20.0
"""Time, in seconds, after which a rehearsal starts no further update."""


@dataclass(frozen=True)
class Tried:
    """The result of the trial of one stage."""

    step: StepTime
    resident: int | None
    """Resident memory in bytes that the stage added to the process; None if it is not the memory of the device."""
    seconds: float | None
    """Time of a real update in seconds; None if there were too few updates."""


def with_trial(stage: StageForecast, tried: Tried) -> StageForecast:
    """A copy of the forecast with the time and the memory of a trial."""
    step = tried.step if tried.seconds is None else tried.step.with_total(tried.seconds)
    if tried.resident is not None:
        stage = dataclasses.replace(stage, memory=stage.memory.resident(tried.resident))
    return with_time(stage, step)


def try_stages(
    model: VLM,
    workloads: Sequence[Workload],
    train: Settings,
    precision: Precision,
    *,
    threads: int,
    before: int | None,
    now: Clock = time.perf_counter,
) -> list[Tried]:
    """Tries each stage and returns the results.

    Args:
        model: A model that is discarded afterwards; on the CPU if parts of it are to be quantized.
        workloads: The microsteps of each stage.
        train: Training settings.
        precision: Device and number format.
        threads: Maximum number of torch threads.
        before: Resident memory of this process before the trial, in bytes; None if it is not the memory of the device.
        now: Clock in seconds.
    """
    device = precision.device
    for part, form in train.quantize.items():
        quantization.quantize(named_parts(model)[part], form, where=part)
    model.to(device)

    may_choose = train.num_threads is None and device.type == "cpu"
    numbers = trial.counts(threads) if may_choose else [threads]

    # Choose one number of threads for all stages, then rehearse each stage with it.
    found = [_try_stage(model, workload, precision, numbers, now) for workload in workloads]
    trials = trial.Trials.of(train.stages, [seconds for seconds, _ in found], otherwise=threads)
    torch.set_num_threads(trials.threads)

    tried = []
    for workload, (seconds, rest) in zip(workloads, found, strict=True):
        step = dataclasses.replace(rest, gradients=seconds[trials.threads])
        rehearsal = timing.rehearse(model, workload, precision, seconds=_REHEARSAL_SECONDS, now=now)
        lora.merge(model)
        known = before is not None and rehearsal.resident is not None
        grown = rehearsal.resident - before if known else None  # type: ignore[operator]  # both are known
        # In a rehearsal the feature cache is still empty.
        has_time = not workload.stage.cache_features
        tried.append(Tried(step, grown, rehearsal.seconds if has_time else None))
    return tried


def _try_stage(
    model: VLM,
    workload: Workload,
    precision: Precision,
    numbers: Sequence[int],
    now: Clock,
) -> tuple[dict[int, float], StepTime]:
    """The time of the gradients in seconds for each number of threads, and the times of the other phases of a step."""
    stage = workload.stage
    prepare(model, stage, stage.lora)
    enter_training(model, stage.parts)

    batches = timing.batches_of(workload, stage.gradient_accumulation_steps)
    seconds = trial.run(model, batches, stage, precision, numbers, now=now)
    if stage.cache_features:
        cache = FeatureCache(model.encoders, precision, stage.cache_features << 20)
        cached = [cache.fill(one) for one in batches]
        known = trial.run(model, cached, stage, precision, numbers, now=now)
        new = _share_of_new(workload)
        seconds = {count: new * seconds[count] + (1 - new) * known[count] for count in numbers}

    rest = timing.measured(model, workload, precision, threads=numbers[0], gradients=0.0, now=now)
    lora.merge(model)
    return seconds, rest


def _share_of_new(workload: Workload) -> float:
    """Share of a stage's images that are not in its feature cache yet."""
    stage = workload.stage
    if stage.steps is None:
        return 0.0
    shown = stage.steps * stage.batch_size * stage.gradient_accumulation_steps
    return min(1.0, workload.feed.size / max(1, shown))


def matmul_rate(precision: Precision) -> float:
    """Measures the number of operations per second of a large matrix product."""
    side = 1024
    kind = torch.bfloat16 if precision.name == "bf16" else torch.float32
    left = torch.ones(side, side, dtype=kind, device=precision.device)

    def work() -> None:
        left @ left
        if precision.device.type == "cuda":
            torch.cuda.synchronize(precision.device)

    (seconds,) = trial.measure(work, [torch.get_num_threads()]).values()
    return 2 * side**3 / max(seconds, 1e-9)
