"""A trial before the first step: how long a step takes under the current load, and which number of threads is fastest.

Two threads that share small matrices gain a sixth on an idle machine, but may be nine times slower than one on a busy one,
where each waits for the other to get a core. Only a trial can tell. It computes gradients and discards them; weights,
statistics and random numbers stay the same.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import torch

from sightweave.core.batch import Batch
from sightweave.core.device import Precision
from sightweave.models.parts import enter_training
from sightweave.models.vlm import VLM
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.gradients import Gradients
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.work import prepare

_ROUNDS = 3
_SECONDS = 3.0
"""Time in seconds after which no further round starts."""
_WORTH = 0.9
"""More threads are used only if they bring the time of a step below this fraction."""


@dataclass(frozen=True, slots=True)
class Trials:
    """Results of the trials of all stages."""

    seconds: tuple[Mapping[int, float] | None, ...]
    """For each stage, the time of the gradients of one step in seconds by number of threads; None without a trial."""
    threads: int
    """Number of torch threads to train with."""
    totals: Mapping[int, float]
    """Total time of the steps of all stages with a trial, in seconds by number of threads."""

    @classmethod
    def of(
        cls, stages: Sequence[Stage], seconds: Sequence[Mapping[int, float] | None], *, otherwise: int
    ) -> Self:
        """Chooses the number of threads by the total time of all steps; `otherwise` without any trial."""
        totals: dict[int, float] = {}
        for stage, times in zip(stages, seconds, strict=True):
            for count, time_of_one in (times or {}).items():
                totals[count] = totals.get(count, 0.0) + (stage.steps or 1) * time_of_one

        return cls(tuple(seconds), choose(totals) if totals else otherwise, totals)

    def seconds_of(self, number: int) -> float | None:
        """Time of one step of a stage with the chosen threads, in seconds; None without a trial."""
        times = self.seconds[number]
        return None if times is None else times[self.threads]

    def to_text(self) -> str:
        """Why this number of threads was chosen; empty if there was no choice."""
        if len(self.totals) < 2:
            return ""

        least = min(self.totals.values())
        each = ", ".join(f"{count}: {total / least:.2f} x" for count, total in sorted(self.totals.items()))
        return (
            f"threads: {self.threads} of {max(self.totals)}, chosen by a trial under the current load (step time by "
            f"threads: {each}); set train.num_threads=N to change it"
        )


def counts(most: int) -> list[int]:
    """Numbers of threads to try: all, half, a quarter ... and one."""
    found = [most]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return found


def choose(seconds: Mapping[int, float]) -> int:
    """The best number of threads for these times; more threads must be clearly faster."""
    best = min(seconds)
    for count in sorted(seconds):
        if seconds[count] < _WORTH * seconds[best]:
            best = count
    return best


def measure(
    work: Callable[[], object],
    threads: Sequence[int],
    *,
    set_threads: Callable[[int], object] = torch.set_num_threads,
    now: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Median seconds of the work by number of threads; these take turns in rounds, so that load affects all of them alike.

    Args:
        work: What to time. It is called once before, since the first call allocates memory.
        threads: Numbers of threads to try.
        set_threads: Sets the number of threads.
        now: Clock in seconds.
    """
    # Warm up; a slow step without a choice is not repeated.
    began = now()
    set_threads(threads[-1])
    work()
    if len(threads) == 1 and now() - began > _SECONDS:
        return {threads[0]: now() - began}

    found: dict[int, list[float]] = {count: [] for count in threads}
    for _ in range(_ROUNDS):
        for count in threads:
            set_threads(count)
            start = now()
            work()
            found[count].append(now() - start)
        if now() - began > _SECONDS:
            break

    return {count: sorted(times)[len(times) // 2] for count, times in found.items()}


def run(
    model: VLM,
    batches: Iterable[Batch],
    stage: Stage,
    precision: Precision,
    threads: Sequence[int],
    *,
    now: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Seconds to compute the gradients of one step, by number of threads.

    Args:
        model: The model, in the mode of the stage and with its parts trainable.
        batches: At least as many batches as one step needs.
        stage: The stage to time.
        precision: Device and number format.
        threads: Numbers of torch threads to try. The caller sets the chosen one afterwards.
        now: Clock in seconds.
    """
    step = list(islice(batches, stage.gradient_accumulation_steps))
    parameters = [one for one in model.parameters() if one.requires_grad]
    gradients = Gradients(model, parameters, stage, precision)

    def work() -> None:
        gradients.add(step)
        for parameter in parameters:
            parameter.grad = None
        if precision.device.type == "cuda":
            torch.cuda.synchronize(precision.device)

    with _unchanged(model, precision.device):
        return measure(work, threads, now=now)


def of_stages(
    model: VLM, feeds: Sequence[Feed], settings: Settings, precision: Precision, threads: Sequence[int]
) -> Trials:
    """Times one step of each stage with each number of threads.

    Stages with adapters or quantized weights are skipped, since their trainable weights do not exist yet.

    Args:
        model: The model on its device. The caller sets its trainable parts afterwards.
        feeds: Feed of each stage.
        settings: Settings with the stages.
        precision: Device and number format.
        threads: Numbers of torch threads to try, the current one first. The caller sets the chosen one afterwards.
    """
    found: list[Mapping[int, float] | None] = []
    for stage, feed in zip(settings.stages, feeds, strict=True):
        if stage.lora or settings.quantize:
            found.append(None)
            continue
        prepare(model, stage, adapters=None)
        enter_training(model, stage.parts)
        found.append(run(model, feed.trial(), stage, precision, threads))
    return Trials.of(settings.stages, found, otherwise=threads[0])


@contextlib.contextmanager
def _unchanged(model: VLM, device: torch.device) -> Iterator[None]:
    """Restores the model's buffers and the random states afterwards."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(buffers[name])
