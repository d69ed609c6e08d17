"""Compares the predicted time and memory of a training run with the measured values."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from sightweave.core import memory as system_memory
from sightweave.core.device import Precision
from sightweave.core.errors import MediaError
from sightweave.data.inputs.processor import Processor
from sightweave.models.vlm import VLM
from sightweave.programs.forecasting import timing
from sightweave.programs.forecasting.forecast import SIMULATION_ERRORS, StagePlan, size
from sightweave.programs.forecasting.memory import GAPS, HEAP, Memory
from sightweave.programs.forecasting.workload import Unlogged, Workload
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.trainer import TrainingData
from sightweave.programs.training.trial import Trials
from sightweave.programs.training.work import prepare

logger = logging.getLogger(__name__)
_FEW = 12
"""Number of microsteps whose lengths are considered before training."""
_OVERHEAD = 1.1
"""Ratio of the time of a step to its time in a trial, which repeats one batch; measured values are 1.05 to 1.15."""


class Watch:
    """Predicts the time and the memory of a training run, and stores what was measured.

    Args:
        model: The untrained model.
        build: Function that builds the same model on the meta device.
        processor: The model's own processor.
        data: The training data.
        settings: Training settings with steps or minutes.
        precision: Device and number format.
        seed: Random seed of the run.
        num_processes: Number of processes that share each batch.
    """

    def __init__(
        self,
        model: VLM,
        build: Callable[[], VLM],
        processor: Processor,
        data: TrainingData,
        settings: Settings,
        precision: Precision,
        *,
        seed: int,
        num_processes: int = 1,
    ) -> None:
        self.model, self.build, self.processor = model, build, processor
        self.data, self.settings, self.precision = data, settings, precision
        self.seed, self.num_processes = seed, num_processes
        self.device = precision.device
        self.warnings: list[str] = []
        self.stages: list[Memory] = []
        """Predicted peak memory of each stage."""
        self.predicted_bytes: int | None = None
        self.measured_bytes: int | None = None
        self.predicted_seconds: list[float | None] = []
        """Predicted time of an update in each stage, in seconds; None without a trial."""
        self.measured_seconds: float | None = None

    def predict_memory(self) -> None:
        """Predicts the peak memory of all stages, and adds a warning if it exceeds the available memory."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # loads libraries that training also loads
        is_cuda = self.device.type == "cuda"
        own = torch.cuda.memory_allocated(self.device) if is_cuda else system_memory.resident_bytes() or 0
        free = system_memory.free_bytes(self.device)

        totals = []
        for number, workload in enumerate(self._workloads()):
            found = self._stage_memory(workload)
            if found is None:
                self.stages.clear()  # a prediction needs all stages
                return
            self.stages.append(found)
            needed = found.total - found.weights  # the weights exist already
            if self.device.type == "cpu":
                needed = int(HEAP * needed) + self._snapshot(found, workload.stage)
            totals.append(needed)
            if totals[-1] > free:
                self.warnings.append(too_large(number, workload.stage, totals[-1], free, self.device))
        self.predicted_bytes = own + max(totals)

    def _snapshot(self, found: Memory, stage: Stage) -> int:
        return found.snapshot if is_saved_within(stage.steps, self.settings) else 0

    def _workloads(self) -> Iterator[Workload]:
        for stage in self.settings.stages:
            own = dataclasses.replace(stage, batch_size=-(-stage.batch_size // self.num_processes))
            feed = Feed(
                self.data.datasets,
                dict(self.data.tasks),
                self.processor,
                own,
                seed=self.seed,
                quarantine=Unlogged(),
                mix=self.data.mix,
                too_long=self.settings.too_long,
            )
            yield Workload(feed, most=_FEW)

    def _stage_memory(self, workload: Workload) -> Memory | None:
        """The peak memory of a stage; None if the model cannot run without data or if images cannot be read."""
        plan = StagePlan.of(
            self.build,
            workload,
            precision=self.precision.name,
            quantized=self.settings.quantize,
            is_cpu=self.device.type == "cpu",
            threads=torch.get_num_threads(),
        )
        try:
            batch = workload.batch(workload.largest)
            return plan.memory(batch, plan.simulate(batch))
        except SIMULATION_ERRORS as error:
            logger.info("memory is not predicted: the model cannot run without data (%s)", error)
            return None
        except MediaError:  # training reports images that cannot be read
            return None

    def predict_time(self, trials: Trials) -> None:
        """Predicts the time of a step in each stage from the trials before the first step."""
        for number, stage in enumerate(self.settings.stages):
            seconds = trials.seconds_of(number)
            if seconds is not None:
                prepare(self.model, stage, None)
                seconds *= _OVERHEAD
                seconds += timing.update_seconds(self.model, stage, self.precision, threads=trials.threads)
            self.predicted_seconds.append(seconds)

        # On a CPU, the trial already allocated the memory of the passes; the optimizer's state and gaps in the heap
        # follow later.
        resident = system_memory.resident_bytes() if self.device.type == "cpu" else None
        if resident is not None and self.stages and None not in self.predicted_seconds:
            later = []
            for one, stage in zip(self.stages, self.settings.stages, strict=True):
                later.append(int(one.optimizer + GAPS * one.activations) + self._snapshot(one, stage))
            self.predicted_bytes = resident + max(later)

    def measure(self, *, steps: int, seconds: float) -> None:
        """Measures the peak memory and the mean time of a step.

        Args:
            steps: Number of steps that were made.
            seconds: Time of these steps.
        """
        if self.device.type == "cuda":
            self.measured_bytes = torch.cuda.max_memory_allocated(self.device)
        else:  # a heap that keeps freed memory stays at its peak
            self.measured_bytes = system_memory.resident_bytes()
        self.measured_seconds = seconds / steps if steps else None

    def predicted_step(self, done: Sequence[int]) -> float | None:
        """Predicted mean time of a step in seconds, over the steps made in each stage; None if a stage had no trial."""
        total, steps = 0.0, 0
        for seconds, count in zip(self.predicted_seconds, done, strict=False):
            if count and seconds is None:
                return None
            total += count * (seconds or 0.0)
            steps += count
        return total / steps if steps and self.predicted_seconds else None

    def to_text(self, done: Sequence[int]) -> str:
        """One line of text with predicted and measured values; empty if nothing was predicted."""
        parts = []
        step = self.predicted_step(done)
        if step is not None and self.measured_seconds is not None:
            parts.append(f"step {step:.3g} s predicted, {self.measured_seconds:.3g} s measured")
        if self.predicted_bytes and self.measured_bytes:
            parts.append(
                f"peak memory {size(self.predicted_bytes)} predicted, {size(self.measured_bytes)} measured"
            )
        return f"forecast: {'; '.join(parts)}" if parts else ""

    def to_json(self, done: Sequence[int]) -> dict[str, Any]:
        """The values for ``run.json``."""
        return {
            "step_seconds_predicted": self.predicted_step(done),
            "step_seconds_measured": self.measured_seconds,
            "memory_bytes_predicted": self.predicted_bytes,
            "memory_bytes_measured": self.measured_bytes,
        }


def too_large(number: int, stage: Stage, needed: int, free: int, device: torch.device) -> str:
    """The warning that a stage probably does not fit into memory."""
    smaller = max(1, int(stage.batch_size * free / needed))
    return (
        f"stage {stage.name}: a step needs about {size(needed)}, but {size(free)} of memory is free on {device.type}, so it "
        f"may run out of memory; try train.stages.{number}.batch_size={smaller}, "
        f"train.stages.{number}.gradient_checkpointing=true, or adapters (train.stages.{number}.lora)"
    )


def is_saved_within(steps: int | None, train: Settings) -> bool:
    """Whether a stage of this many steps saves a checkpoint before it ends; also True for one with minutes."""
    return steps is None or steps > train.save_every
