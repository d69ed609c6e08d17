"""A trial before the first step: how long a step takes under the present load, and with how many threads.

Two threads that share small matrices gain a sixth on an idle machine and may be nine times slower than one on a busy one,
where each waits for the other to get a core. Only a trial tells. It computes gradients and throws them away, so weights,
statistics and random numbers are as before.
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
"""After this time no further round starts."""
_WORTH = 0.9
"""More threads must bring the time of a step below this share of what fewer ones need."""


@dataclass(frozen=True, slots=True)
class Trials:
    """What the trials of all stages found."""

    seconds: tuple[Mapping[int, float] | None, ...]
    """Of each stage, the time of one step's gradients in seconds by number of threads; None where none was tried."""
    threads: int
    """Number of torch threads to train with."""
    totals: Mapping[int, float]
    """Time of all steps that were tried, in seconds by number of threads."""

    @classmethod
    def of(
        cls, stages: Sequence[Stage], seconds: Sequence[Mapping[int, float] | None], *, otherwise: int
    ) -> Self:
        """Chooses the threads by the time of all steps together; `otherwise` where nothing was tried."""
        totals: dict[int, float] = {}
        for stage, times in zip(stages, seconds, strict=True):
            for count, time_of_one in (times or {}).items():
                totals[count] = totals.get(count, 0.0) + (stage.steps or 1) * time_of_one
        return cls(tuple(seconds), choose(totals) if totals else otherwise, totals)

    def seconds_of(self, number: int) -> float | None:
        """Time of one step of a stage with the threads that were chosen, in seconds; None where none was tried."""
        times = self.seconds[number]
        return None if times is None else times[self.threads]

    def to_text(self) -> str:
        """Why this number of threads was chosen; empty where there was nothing to choose."""
        if len(self.totals) < 2:
            return ""
        least = min(self.totals.values())
        each = ", ".join(f"{count}: {total / least:.2f} x" for count, total in sorted(self.totals.items()))
        return (
            f"threads: {self.threads} of {max(self.totals)}, chosen by a trial under the current load (step time "
            "by threads: "
            f"{each}); set train.num_threads=N to change it"
        )


def counts(most: int) -> list[int]:
    """Numbers of threads to try: all, a half, a quarter ... and one."""
    found = [most]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return found


def choose(seconds: Mapping[int, float]) -> int:
    """The number of threads for these times: more of them only where they are clearly faster."""
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
    """Seconds of the work by number of threads: the median of rounds in which all take turns, so that load hits all alike.

    Args:
        work: What to time; called once before, since the first call allocates memory.
        threads: Numbers of threads to try.
        set_threads: Sets the number of threads.
        now: Clock in seconds.
    """
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
    model: VLM, batches: Iterable[Batch], stage: Stage, precision: Precision, threads: Sequence[int]
) -> dict[int, float]:
    """Seconds of the gradients of one step, by number of threads.

    Args:
        model: In the mode that the stage wants, with gradients into the parts that it trains.
        batches: At least those of one step.
        stage: Whose loss is computed.
        precision: In which format to multiply.
        threads: Numbers of torch threads to try. Which one is set afterwards is the caller's to choose.
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
        return measure(work, threads)


def of_stages(
    model: VLM, feeds: Sequence[Feed], settings: Settings, precision: Precision, threads: Sequence[int]
) -> Trials:
    """Times one step of each stage with each number of threads.

    Stages whose parts get adapters, or weights in few bits, are left out: what they train is not there yet.

    Args:
        model: On the device; which of its parts train afterwards is left to the caller.
        feeds: Of each stage.
        settings: With the stages.
        precision: In which format to multiply.
        threads: Numbers of torch threads to try, the present one first. The caller sets the one that is chosen.
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
    """Puts buffers and random numbers back afterwards."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(buffers[name])
