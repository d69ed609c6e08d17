"""The training loop: stages of steps; each step is a forward pass, a loss on the targets, a backward pass and an update."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from sightweave.core import memory
from sightweave.core.device import Precision
from sightweave.core.errors import SightweaveError
from sightweave.data.inputs.order import Mixing
from sightweave.data.inputs.processor import Processor
from sightweave.data.reading.dataset import Dataset
from sightweave.models.adapters import lora, quantization
from sightweave.models.parts import named_parts
from sightweave.models.vlm import VLM
from sightweave.programs.training import durations, trial
from sightweave.programs.training.feed import Feed, Step
from sightweave.programs.training.logs import Averages, Report, RunLog
from sightweave.programs.training.quarantine import FILE_NAME
from sightweave.programs.training.seen import Seen
from sightweave.programs.training.settings import Settings
from sightweave.programs.training.state import State
from sightweave.programs.training.stopping import stop_signals
from sightweave.programs.training.trial import Trials
from sightweave.programs.training.work import Work
from sightweave.programs.training.world import World

Save = Callable[[State, VLM], None]
"""Writes a checkpoint from the state to resume from and the model to save.

The state has tensors until training has finished. They share memory with the model and the optimizer, so write or copy them
before returning.
"""


class NonFiniteLoss(SightweaveError):
    """The loss or the gradient is not finite; no update was made with it."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The data of a training run."""

    datasets: Sequence[Dataset]
    """Sources of the training split."""
    tasks: Mapping[str, Any]
    """Tasks by name, for the records of the sources."""
    mix: Sequence[Mixing] = ()
    """How often each source is used; if empty, each is used once per epoch."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a training ended."""

    is_interrupted: bool
    """Whether it was stopped before its last step."""
    stop_signal: int
    """Number of the signal that stopped it; 0 if none did."""


class Trainer:
    """Trains a model through all stages, from the beginning or from a state.

    Args:
        model: Trained in place, and moved to the precision's device. With a state, it must have the architecture that the
            run had before its first stage; `run` loads the weights of the state.
        processor: The model's processor.
        data: The training data.
        settings: Stages, and how often to log and save.
        precision: Device and number format.
        out: Run folder, for metrics, events and the quarantine.
        seed: Random seed of the order, the choice of samples and dropout.
        save: Called every `save_every` steps, at the end, and when interrupted.
        finish: Called after the last save, to wait until it is on disk.
        state: State to resume from, in which `run` counts; by default a new one.
        world: The processes that train together; only one is supported so far.

    Raises:
        RecipeError: a stage names an unknown part, or `data` and `settings` do not fit.
        DataError: no usable training data.
        CheckpointError: the state belongs to different data or different stages.
        BackendError: a library that the settings need is not installed, or there are several processes.
    """

    def __init__(
        self,
        model: VLM,
        processor: Processor,
        data: TrainingData,
        settings: Settings,
        *,
        precision: Precision,
        out: Path,
        seed: int,
        save: Save,
        finish: Callable[[], None] = lambda: None,
        state: State | None = None,
        world: World | None = None,
    ) -> None:
        self.model, self.precision, self.out = model, precision, out
        self.save, self.finish = save, finish
        self.world = world or World()
        self.world.check_alone()
        torch.manual_seed(seed)

        # Quantize before moving: the full-precision model may not fit on the device.
        for part, form in settings.quantize.items():
            quantization.quantize(named_parts(model)[part], form, where=part)
        model.to(precision.device)

        has_epochs = any(stage.epochs is not None for stage in settings.stages)
        if has_epochs:
            epochs = durations.epochs(settings.stages, data.datasets, data.tasks, data.mix)
            settings = durations.resolved(settings, epochs)
        self.settings = settings

        self.state = state or State()
        self.state.precision = precision.name
        self.state.quarantine.path = out / FILE_NAME
        self.feeds = [
            Feed(
                data.datasets,
                dict(data.tasks),
                processor,
                stage,
                seed=seed,
                quarantine=self.state.quarantine,
                mix=data.mix,
                too_long=settings.too_long,
                world=self.world,
                workers=settings.num_workers,
            )
            for stage in settings.stages
        ]

        if self.state.steps:
            self.state.check_fits([stage.name for stage in settings.stages], data=self._data)
            self.state.quarantine.drop_later()
        else:
            self.state.planned_steps = sum(stage.steps or 0 for stage in settings.stages)
            self.state.seen = Seen(sum(len(dataset) for dataset in data.datasets))

    def run(
        self,
        *,
        console: Console | None = None,
        begins: Callable[[Trials], None] | None = None,
        report: Report | None = None,
    ) -> Ending:
        """Trains all remaining stages, and saves.

        Args:
            console: Where progress is shown; None hides it.
            begins: Called with the results of the trials before the first step. None skips the trials and keeps the number
                of threads.
            report: Called with each row of the log. An error that it raises stops training as a signal does: the model is
                saved, and then the error is raised.

        Raises:
            RecipeError: a stage trains nothing.
            DataError: too many bad images.
            NonFiniteLoss: the loss or the gradient is not finite.
            CheckpointError: the state's tensors do not fit the model.
        """
        self._choose_threads(begins)
        state = self.state
        self._began = time.perf_counter() - state.seconds

        log = RunLog(
            self.out, steps=state.planned_steps, first_step=state.steps, console=console, report=report
        )
        with log, stop_signals() as stop:
            log.stop = stop
            resumable = self._train(log, stop)
            state.seconds = self._seconds()

            # The last step of a stage with minutes is not known in advance.
            is_timed = any(stage.steps is None for stage in self.settings.stages)
            is_interrupted = bool(stop) and (is_timed or state.steps < state.planned_steps)

            # Save before the outer signal handlers are restored: a signal must not lose the last steps now.
            self._save_last(resumable if is_interrupted else state)
            self.finish()
            log.raise_failure()
            return Ending(is_interrupted, stop[0] if stop else 0)

    def _train(self, log: RunLog, stop: Sequence[int]) -> State:
        """The loop. Returns the state to resume from if it was stopped, and the final state, without tensors, if not."""
        state, world = self.state, self.world

        while state.stage < len(self.settings.stages):
            work = self._begin_stage()
            is_over = work.pace.is_over(state.step)

            with contextlib.closing(work.feed.microsteps(state.position, state.within)) as feed:
                while not is_over:
                    # Compute the gradient and update.
                    factor = work.pace.factor(state.step)
                    microsteps = self._next(feed, work.stage.gradient_accumulation_steps)
                    loss = world.mean(work.loss(microsteps))
                    norm = work.clip()
                    self._check_finite(loss, norm, work, microsteps)
                    work.update(factor)

                    # Count the update, and find out whether it was the last one.
                    self._count(work, microsteps, loss, norm)
                    is_complete = world.agree(work.pace.is_over(state.step))
                    is_over = is_complete or world.agree(bool(stop))
                    state.planned_steps = self._planned(work.pace.expected(state.step))

                    # A stop leaves the log as it is: the resumed training completes the row.
                    if state.step % self.settings.log_every == 0 or is_complete:
                        self._log(log, work, factor)
                    if state.steps % self.settings.save_every == 0 and not stop:
                        self._save(self._snapshot(work))

            if world.agree(bool(stop)):
                return self._snapshot(work).on_cpu()
            self._end_stage()

        return state

    # The phases of a stage.

    def _begin_stage(self) -> Work:
        """Prepares the model for the stage that the state names, and restores the state if it has tensors."""
        state = self.state
        stage, feed = self.settings.stages[state.stage], self.feeds[state.stage]
        work = Work.begin(self.model, feed, stage, self.precision, spent=state.stage_seconds)

        if state.model:
            state.restore(self.model, work.optimizer, self.precision.device)
        else:
            state.losses.append([])
            state.averages = Averages(since=self._seconds())
        return work

    def _next(self, feed: Iterator[Step], count: int) -> list[Step]:
        """The microsteps of one update; adds the time spent waiting for them to the state."""
        began = time.perf_counter()
        microsteps = list(islice(feed, count))
        waited = time.perf_counter() - began
        self.state.feed_seconds += waited
        self.state.averages.waiting += waited
        return microsteps

    def _check_finite(self, loss: float, norm: float, work: Work, microsteps: Sequence[Step]) -> None:
        """Raises `NonFiniteLoss` if an update would make the weights useless."""
        if math.isfinite(loss) and math.isfinite(norm):
            return
        samples = ", ".join(microsteps[-1].ids[:5])
        raise NonFiniteLoss(
            f"stage {work.stage.name!r}, step {self.state.step}: loss {loss}, gradient norm {norm}; no update was made with "
            f"it. Samples of its last batch: {samples}. Lower the learning rate, or check the samples."
        )

    def _count(self, work: Work, microsteps: Sequence[Step], loss: float, norm: float) -> None:
        """Counts one update. Microsteps that were prepared in advance and not used are not counted."""
        state = self.state
        state.step += 1
        state.steps += 1
        state.stage_seconds = work.pace.spent
        state.seconds = self._seconds()

        state.position, state.within = microsteps[-1].position, microsteps[-1].within
        tokens = pictures = samples = 0
        for one in microsteps:
            # Microsteps of one window may hold its images in any order, so a later one may end earlier.
            state.end = max(state.end, one.end)
            samples += len(one.ids)
            pictures += len(one.pictures)
            for number in one.pictures:
                state.seen.add(number)
            if one.batch.target is not None:
                tokens += int(one.batch.target.valid.sum())
        state.pictures += pictures
        state.samples += samples
        state.tokens += tokens

        if state.languages is not None:
            state.languages |= work.feed.languages
        state.averages.add(loss=loss, norm=norm, tokens=tokens, pictures=pictures, samples=samples)

    def _planned(self, expected: int) -> int:
        """Expected updates over all stages; later stages with minutes count as none."""
        later = self.settings.stages[self.state.stage + 1 :]
        return sum(self.state.stage_steps) + expected + sum(one.steps or 0 for one in later)

    def _log(self, log: RunLog, work: Work, factor: float) -> None:
        """Writes a row of the means since the last row."""
        state = self.state
        row = state.averages.row(self._seconds())
        row |= {"stage": work.stage.name, "lr": factor * work.stage.optimizer.lr}
        row["peak_memory_bytes"] = memory.peak_bytes(self.precision.device)

        log.progress.steps = state.planned_steps
        log.write(state.steps - 1, row)  # logs count from 0

        state.losses[-1].append(float(row["loss"]))
        state.averages = Averages(since=self._seconds())

    def _end_stage(self) -> None:
        """Merges adapters for the next stage, which begins after the last image trained on."""
        state = self.state
        if state.stage < len(self.settings.stages) - 1:
            lora.merge(self.model)

        state.stage_steps.append(state.step)
        state.stage += 1
        state.step, state.stage_seconds = 0, 0.0
        state.position, state.within = state.end, 0

    # Saving.

    def _snapshot(self, work: Work) -> State:
        """The state to resume from, with all its tensors."""
        return self.state.snapshot(self.model, work.optimizer, self.precision.device, data=self._data)

    @cached_property
    def _data(self) -> str:
        """Fingerprint of the data; it is the same for all stages."""
        return self.feeds[0].fingerprint

    @property
    def _keeps_adapters(self) -> bool:
        """Whether adapters are saved separately. Only those of the last stage are, since loading expects those or none."""
        return bool(self.settings.kept) and self.state.stage >= len(self.settings.stages) - 1

    def _save(self, state: State) -> None:
        """Saves during a stage, with ordinary weights."""
        if self.world.is_first:
            self.save(state, whole(self.model, keeps=self._keeps_adapters))

    def _save_last(self, state: State) -> None:
        """Saves at the end, and leaves the model with ordinary weights."""
        if quantization.is_quantized(self.model):
            # Save first: the full-precision model may not fit on the device.
            self._save(state)
        quantization.restore(self.model)
        if not self._keeps_adapters:
            lora.merge(self.model)
        if self.world.is_first:
            self.save(state, self.model)

    # Time and threads.

    def _seconds(self) -> float:
        """Wall time of the loop, including the time before it was resumed."""
        return time.perf_counter() - self._began

    def _choose_threads(self, begins: Callable[[Trials], None] | None) -> None:
        """Sets the number of torch threads: that of the state, or what a trial finds if the settings leave it open."""
        may_choose = self.settings.num_threads is None and self.precision.device.type == "cpu"
        if may_choose and self.state.threads:
            torch.set_num_threads(self.state.threads)  # another number may round sums differently
            may_choose = False

        if begins is not None:
            present = torch.get_num_threads()
            threads = trial.counts(present) if may_choose else [present]
            trials = trial.of_stages(self.model, self.feeds, self.settings, self.precision, threads)
            torch.set_num_threads(trials.threads)
            begins(trials)
        self.state.threads = torch.get_num_threads()


def whole(model: VLM, *, keeps: bool) -> VLM:
    """The model to save: itself, or a copy with ordinary weights, with adapters merged unless `keeps`."""
    is_whole = not quantization.is_quantized(model) and (keeps or not lora.is_adapted(model))
    if is_whole:
        return model

    found = copy.deepcopy(model).to("cpu")
    quantization.restore(found)
    if not keeps:
        lora.merge(found)
    return found
