"""Determines the time of a step: by a short trial on this machine, or by a computation with the table of devices."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from sightweave.core import memory
from sightweave.core.batch import Batch
from sightweave.core.device import Precision, num_cores
from sightweave.core.errors import MediaError
from sightweave.models.vlm import VLM
from sightweave.programs.forecasting.devices import Device
from sightweave.programs.forecasting.simulation import Simulation
from sightweave.programs.forecasting.workload import Workload
from sightweave.programs.training import trial
from sightweave.programs.training.feed import decoding_threads
from sightweave.programs.training.optimizers import Muon, hidden_matrices
from sightweave.programs.training.settings import Stage
from sightweave.programs.training.work import Work

Clock = Callable[[], float]
_MOST_UPDATES, _WARM_UPDATES, _FEWEST_TIMED = 16, 2, 3
"""Maximum number of real updates, number of updates that only warm up, and minimum number of timed updates."""
_FEWEST_FED = 3
"""Minimum number of microsteps whose batches are prepared to time the feed."""
_MOST_UPDATED = 8_000_000
"""Maximum number of weights that a trial updates per optimizer; the time is scaled up to all weights."""
_ADAMW_PASSES = 7
"""Number of times that AdamW reads or writes each weight: it reads weight, gradient and two moments, and writes three
of them."""
_MUON_STEPS, _MUON_PASSES = 5, 30
"""Number of Newton-Schulz steps, and number of times that Muon reads or writes each weight in them and around them."""
_CLIP_PASSES = 3
"""Number of times that clipping reads or writes each gradient: once for the norm, and twice to scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """The time of one optimizer update, in seconds."""

    gradients: float
    """Time of the forward and backward passes of all microsteps."""
    update: float = 0.0
    """Time of clipping and of the optimizer."""
    feed: float = 0.0
    """Time to prepare the batches in one thread, which overlaps with the rest if there are spare cores."""
    communication: float = 0.0
    """Time of the exchange with other devices, which overlaps with the backward pass."""
    feed_threads: int = 1
    """Number of threads that prepare batches at the same time."""
    spare_cores: int = 1
    """Number of cores that training leaves to the feed; 0 if training and feed share their cores."""

    @property
    def computing(self) -> float:
        """Time of the gradients and the update."""
        return self.gradients + self.update

    def with_total(self, seconds: float) -> StepTime:
        """A copy with another total; the difference is attributed to the gradients."""
        found = dataclasses.replace(self, gradients=max(0.0, self.gradients + seconds - self.total))
        hidden = found.total - seconds  # above 0 if the feed takes longest and was overestimated
        return dataclasses.replace(found, feed=max(0.0, found.feed - hidden * self.lanes))

    @property
    def lanes(self) -> int:
        """Number of batches that are prepared at the same time."""
        return max(1, min(self.feed_threads, self.spare_cores))

    @property
    def total(self) -> float:
        """Time from one update to the next."""
        own = max(self.gradients, self.communication) + self.update
        if not self.spare_cores:
            return own + self.feed
        return max(own, self.feed / self.lanes)


def measured(
    model: VLM,
    workload: Workload,
    precision: Precision,
    *,
    threads: int,
    gradients: float | None = None,
    now: Clock = time.perf_counter,
) -> StepTime:
    """Measures the time of a typical step, by a trial of each phase; weights and random number states do not change.

    Args:
        model: The model on its device, in the stage's mode and with the stage's parts trainable.
        workload: The microsteps of the stage.
        precision: Device and number format.
        threads: Number of torch threads.
        gradients: Time of the gradients in seconds if a trial has measured it already.
        now: Clock in seconds. If it counts CPU time, phases are assumed not to overlap.
    """
    stage = workload.stage

    feed = feed_seconds(workload, now)
    batches = batches_of(workload, stage.gradient_accumulation_steps)
    if gradients is None:
        gradients = trial.run(model, batches, stage, precision, [threads], now=now)[threads]
    update = update_seconds(model, stage, precision, threads=threads, now=now)

    is_shared = now is time.process_time
    on_cpu = precision.device.type == "cpu"
    spare = 0 if is_shared else max(0, num_cores() - threads) if on_cpu else num_cores()
    return StepTime(
        gradients=gradients,
        update=update,
        feed=feed,
        feed_threads=decoding_threads(0),
        spare_cores=spare,
    )


def batches_of(workload: Workload, count: int) -> list[Batch]:
    """Typical batches of an update with `count` microsteps."""
    return [workload.batch(one) for one in workload.typical(count)]


def feed_seconds(workload: Workload, now: Clock) -> float:
    """Measures the time to prepare an update's batches in one thread, from the second half of the data."""
    feed, count = workload.feed, workload.stage.gradient_accumulation_steps
    planned = feed.planned(start=feed.size // 2)
    tried = max(_FEWEST_FED, count)
    with contextlib.closing(planned):
        feed.batch_of(next(planned))  # warm up
        began = now()
        for _ in range(tried):
            with contextlib.suppress(MediaError):  # training leaves such media out
                feed.batch_of(next(planned))
    return (now() - began) / tried * count


def update_seconds(
    model: nn.Module,
    stage: Stage,
    precision: Precision,
    *,
    threads: int,
    now: Clock = time.perf_counter,
) -> float:
    """Measures the time to clip gradients and to update weights, on copies of some of the weights."""
    matrices = hidden_matrices(model) if stage.optimizer.name == "muon" else {}
    muon = list(matrices.values())
    known = {id(one) for one in muon}
    adamw = [one for one in model.parameters() if one.requires_grad and id(one) not in known]

    total = 0.0
    for parameters, is_muon in ((adamw, False), (muon, True)):
        few = _first(parameters, _MOST_UPDATED)
        if not few:
            continue
        scale = sum(one.numel() for one in parameters) / sum(one.numel() for one in few)
        total += scale * _seconds_of_update(few, precision, is_muon=is_muon, threads=threads, now=now)
    return total


def _first(parameters: Sequence[Tensor], most: int) -> list[Tensor]:
    """The first parameters, at least one, that have at most `most` weights in total."""
    found: list[Tensor] = []
    count = 0
    for one in parameters:
        if found and count + one.numel() > most:
            break
        found.append(one)
        count += one.numel()
    return found


def _seconds_of_update(
    parameters: Sequence[Tensor], precision: Precision, *, is_muon: bool, threads: int, now: Clock
) -> float:
    copies = [nn.Parameter(torch.zeros_like(one, device=precision.device)) for one in parameters]
    for one in copies:
        one.grad = torch.full_like(one, 1e-3)
    optimizer: torch.optim.Optimizer = Muon(copies) if is_muon else torch.optim.AdamW(copies, fused=True)

    def work() -> None:
        nn.utils.clip_grad_norm_(copies, 1.0)
        optimizer.step()
        if precision.device.type == "cuda":
            torch.cuda.synchronize(precision.device)

    return trial.measure(work, [threads], now=now)[threads]


def computed(simulations: Sequence[Simulation], device: Device, update: Update) -> StepTime:
    """Computes the time of a step on a device, operator by operator, from the operations and the bytes of each.

    Args:
        simulations: The microsteps of an update, as each device computes them.
        device: The device.
        update: The work of the optimizer on each device.
    """
    gradients = 0.0
    for one in simulations:
        gradients += sum(device.seconds(operator.flops, operator.bytes) for operator in one.operators)
    return StepTime(gradients=gradients, update=device.seconds(update.flops, update.bytes))


@dataclass(frozen=True, slots=True)
class Update:
    """The operations and the bytes of clipping and of the optimizer in one update."""

    flops: int
    bytes: int
    """Number of bytes that are read and written."""

    @classmethod
    def of(cls, model: nn.Module, stage: Stage) -> Update:
        """The update of the parameters that a stage trains."""
        matrices = list(hidden_matrices(model).values()) if stage.optimizer.name == "muon" else []
        known = {id(one) for one in matrices}
        trained = [one for one in model.parameters() if one.requires_grad]
        adamw = sum(one.nbytes for one in trained if id(one) not in known)
        muon = sum(one.nbytes for one in matrices)

        flops = sum(_flops_of_muon(one) for one in matrices)
        moved = _CLIP_PASSES * (adamw + muon) + _ADAMW_PASSES * adamw + _MUON_PASSES * muon
        return cls(flops, moved)

    def shared(self, count: int) -> Update:
        """The part of this work that one of `count` devices does."""
        return Update(self.flops // count, self.bytes // count)


def _flops_of_muon(matrix: Tensor) -> int:
    """Number of operations in five Newton-Schulz steps on an accelerator.

    Each step computes a Gram matrix, its square, and a product with the matrix. A CPU, whose updates are timed instead,
    needs fewer for wide matrices.
    """
    rows = matrix.shape[0]
    columns = matrix.numel() // rows
    short, long = min(rows, columns), max(rows, columns)
    return _MUON_STEPS * (4 * short**2 * long + 2 * short**3)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The memory and the time of some real updates."""

    resident: int | None
    """Resident memory of this process after the updates, in bytes; None if the system does not tell it."""
    seconds: float | None
    """Mean time of an update with its feed, without the first updates; None if there were too few updates."""


def rehearse(
    model: VLM, workload: Workload, precision: Precision, *, seconds: float, now: Clock = time.perf_counter
) -> Rehearsal:
    """Runs some real updates, because a trial that repeats one batch has warm memory and a heap without gaps.

    Args:
        model: A model that is discarded afterwards, because its weights change.
        workload: The microsteps of the stage.
        precision: Device and number format.
        seconds: Time after which no further update starts; at least two updates are run.
        now: Clock in seconds.
    """
    importlib.import_module("tensorboard.summary.writer.record_writer")  # a log loads it
    feed, stage = workload.feed, workload.stage
    work = Work.begin(model, feed, stage, precision, spent=0.0)
    stamps = [now()]
    with contextlib.closing(feed.microsteps()) as steps:
        while len(stamps) <= _MOST_UPDATES:
            if len(stamps) > _WARM_UPDATES and stamps[-1] - stamps[0] > seconds:
                break
            work.loss(list(islice(steps, stage.gradient_accumulation_steps)))
            work.clip()
            work.update(1.0, len(stamps) - 1)
            if precision.device.type == "cuda":
                torch.cuda.synchronize(precision.device)
            stamps.append(now())

    timed = stamps[_WARM_UPDATES:]
    count = len(timed) - 1
    mean = (timed[-1] - timed[0]) / count if count >= _FEWEST_TIMED else None
    return Rehearsal(memory.resident_bytes(), mean)
