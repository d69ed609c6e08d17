"""The training loop: stages of steps, each a forward pass, a loss on targets only, a backward pass and an update."""

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
from sightweave.programs.training.logs import Averages, RunLog
from sightweave.programs.training.quarantine import FILE_NAME
from sightweave.programs.training.seen import Seen
from sightweave.programs.training.settings import Settings
from sightweave.programs.training.state import State
from sightweave.programs.training.stopping import stop_signals
from sightweave.programs.training.trial import Trials
from sightweave.programs.training.work import Work
from sightweave.programs.training.world import World

Save = Callable[[State, VLM], None]
"""Writes a checkpoint: gets the state to resume from, and the model as whoever loads it should find it.

The state has tensors as long as there is something left to train; they share memory with what trains, so they are to be
written or copied before the function returns.
"""


class NonFiniteLoss(SightweaveError):
    """The loss or the gradient is no finite number; nothing was updated with it."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run trains on."""

    datasets: Sequence[Dataset]
    """Sources of the training split."""
    tasks: Mapping[str, Any]
    """Task by name, for the records of the sources."""
    mix: Sequence[Mixing] = ()
    """How often each source comes; empty means once an epoch each."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a training ended."""

    is_interrupted: bool
    """Whether it was asked to stop before its end."""
    stop_signal: int
    """Number of the signal that asked; 0 where none did."""


class Trainer:
    """Trains a model through all stages, from the beginning or from a state.

    Args:
        model: Trained in place, and moved to the precision's device. With a state, it has the architecture that the run had
            before its first stage; its weights are those of the state from `run` on.
        processor: The model's own.
        data: What to train on.
        settings: Stages and how often to log and save.
        precision: In which format to multiply.
        out: The run's folder: gets metrics, events and what was quarantined.
        seed: Of order, choice and dropout.
        save: Called every so often, at the end, and when interrupted.
        state: Where to begin, and the object that `run` counts in; by default the beginning.
        world: The processes that train together; a single one so far.

    Raises:
        RecipeError: a stage names no known part, or `data` and `settings` do not fit.
        DataError: nothing usable to train on.
        CheckpointError: the state is of other data or other stages.
        BackendError: something that the settings ask for is not installed, or there are several processes.
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
        state: State | None = None,
        world: World | None = None,
    ) -> None:
        self.model, self.precision, self.out, self.save = model, precision, out, save
        self.world = world or World()
        self.world.check_alone()
        torch.manual_seed(seed)

        for part, form in settings.quantize.items():
            quantization.quantize(named_parts(model)[part], form, where=part)
        model.to(precision.device)

        if any(stage.epochs is not None for stage in settings.stages):
            epochs = durations.epochs(settings.stages, data.datasets, data.tasks, data.mix)
            settings = durations.resolved(settings, epochs)
        self.settings = settings

        self.state = state or State()
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
        else:
            self.state.planned_steps = sum(stage.steps or 0 for stage in settings.stages)
            self.state.seen = Seen(sum(len(dataset) for dataset in data.datasets))

    def run(
        self, *, console: Console | None = None, begins: Callable[[Trials], None] | None = None
    ) -> Ending:
        """Trains all stages that are left, and saves.

        Args:
            console: Where progress is shown; None shows none.
            begins: Told what trials of the stages found, before the first step. With None there are no trials, and the
                number of threads stays as it is.

        Raises:
            RecipeError: a stage trains nothing.
            DataError: too many bad pictures.
            NonFiniteLoss: the loss or the gradient is not finite.
            CheckpointError: the state's tensors do not fit the model.
        """
        self._choose_threads(begins)
        state = self.state
        self._began = time.perf_counter() - state.seconds

        log = RunLog(self.out, steps=state.planned_steps, first_step=state.steps, console=console)
        with log, stop_signals() as stop:
            resumable = self._train(log, stop)
            state.seconds = self._seconds()
            # Of a stage with minutes, nobody knows beforehand which step would have been its last.
            is_timed = any(stage.steps is None for stage in self.settings.stages)
            is_interrupted = bool(stop) and (is_timed or state.steps < state.planned_steps)

            # Saved before signals mean again what they meant outside: one that comes now must not lose the last steps.
            self._save_last(resumable if is_interrupted else state)
            return Ending(is_interrupted, stop[0] if stop else 0)

    def _train(self, log: RunLog, stop: Sequence[int]) -> State:
        """The loop. Returns the state to resume from where it was asked to stop, else the last one, without tensors."""
        state, world = self.state, self.world

        while state.stage < len(self.settings.stages):
            work = self._begin_stage()
            is_over = work.pace.is_over(state.step)

            with contextlib.closing(work.feed.microsteps(state.position, state.within)) as feed:
                while not is_over:
                    # The gradient of one update.
                    factor = work.pace.factor(state.step)
                    microsteps = self._next(feed, work.stage.gradient_accumulation_steps)
                    loss = world.mean(work.loss(microsteps))
                    norm = work.clip()
                    self._check_finite(loss, norm, work, microsteps)
                    work.update(factor)

                    # What it did, and whether it was the last one.
                    self._count(work, microsteps, loss, norm)
                    is_over = world.agree(work.pace.is_over(state.step) or bool(stop))
                    state.planned_steps = self._planned(work.pace.expected(state.step))

                    if state.step % self.settings.log_every == 0 or is_over:
                        self._log(log, work, factor)
                    if state.steps % self.settings.save_every == 0 and not stop:
                        self._save(self._snapshot(work))

            if world.agree(bool(stop)):
                return self._snapshot(work).on_cpu()
            self._end_stage()

        return state

    # A stage, from its beginning to its end.

    def _begin_stage(self) -> Work:
        """Prepares the model for the stage that the state names, and goes on with it where a state was given."""
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
        """The input of an update."""
        waited = time.perf_counter()
        microsteps = list(islice(feed, count))
        self.state.feed_seconds += time.perf_counter() - waited
        return microsteps

    def _check_finite(self, loss: float, norm: float, work: Work, microsteps: Sequence[Step]) -> None:
        """Raises `NonFiniteLoss` where an update would spoil the weights."""
        if math.isfinite(loss) and math.isfinite(norm):
            return
        raise NonFiniteLoss(
            f"stage {work.stage.name!r}, step {self.state.step}: loss {loss}, gradient norm {norm}; no update was made with "
            f"it. Samples of its last batch: {', '.join(microsteps[-1].ids[:5])}. Lower the learning rate, or look at them."
        )

    def _count(self, work: Work, microsteps: Sequence[Step], loss: float, norm: float) -> None:
        """Adds what an update was made with. Microsteps that were prepared ahead and never used are not counted."""
        state = self.state
        state.step += 1
        state.steps += 1
        state.stage_seconds = work.pace.spent
        state.seconds = self._seconds()

        state.position, state.within = microsteps[-1].position, microsteps[-1].within
        tokens = pictures = 0
        for one in microsteps:
            # Microsteps of one window share it out, so a later one may end before an earlier one does.
            state.end = max(state.end, one.end)
            state.samples += len(one.ids)
            pictures += len(one.pictures)
            for number in one.pictures:
                state.seen.add(number)
            if one.batch.target is not None:
                tokens += int(one.batch.target.valid.sum())
        state.pictures += pictures
        state.tokens += tokens
        if state.languages is not None:
            state.languages |= work.feed.languages

        state.averages.add(loss=loss, norm=norm, tokens=tokens, pictures=pictures)

    def _planned(self, expected: int) -> int:
        """Updates over all stages: those of stages that ended, of this one, and of later ones as far as they are known."""
        later = self.settings.stages[self.state.stage + 1 :]
        return sum(self.state.stage_steps) + expected + sum(one.steps or 0 for one in later)

    def _log(self, log: RunLog, work: Work, factor: float) -> None:
        """Writes a row of the means since the last one."""
        state = self.state
        row = state.averages.row(self._seconds())
        row |= {"stage": work.stage.name, "lr": factor * work.stage.optimizer.lr}
        log.progress.steps = state.planned_steps
        log.write(state.steps - 1, row)  # logs count from 0
        state.losses[-1].append(float(row["loss"]))
        state.averages = Averages(since=self._seconds())

    def _end_stage(self) -> None:
        """Leaves a model with ordinary weights to the next stage, which begins after the last image trained on."""
        state = self.state
        if state.stage < len(self.settings.stages) - 1:
            lora.merge(self.model)
        state.stage_steps.append(state.step)
        state.stage += 1
        state.step, state.stage_seconds = 0, 0.0
        state.position, state.within = state.end, 0

    # What is saved, and what a state is resumed with.

    def _snapshot(self, work: Work) -> State:
        """The state to resume from, with all its tensors."""
        return self.state.snapshot(self.model, work.optimizer, self.precision.device, data=self._data)

    @cached_property
    def _data(self) -> str:
        """The fingerprint of the data, which all stages share."""
        return self.feeds[0].fingerprint

    @property
    def _keeps_adapters(self) -> bool:
        """Whether adapters are saved apart: those of the last stage alone, since a loader expects these or none."""
        return bool(self.settings.kept) and self.state.stage >= len(self.settings.stages) - 1

    def _save(self, state: State) -> None:
        """Saves inside of a stage, with ordinary weights."""
        if self.world.is_first:
            self.save(state, whole(self.model, keeps=self._keeps_adapters))

    def _save_last(self, state: State) -> None:
        """Saves at the end, and leaves the model with ordinary weights."""
        if quantization.is_quantized(self.model):
            # The whole may have no room on the device: first it is safe on the disk.
            self._save(state)
        quantization.restore(self.model)
        if not self._keeps_adapters:
            lora.merge(self.model)
        if self.world.is_first:
            self.save(state, self.model)

    # Clock and threads.

    def _seconds(self) -> float:
        """Wall time of the loop, also before it was resumed."""
        return time.perf_counter() - self._began

    def _choose_threads(self, begins: Callable[[Trials], None] | None) -> None:
        """Sets the number of torch threads: that of the state, or what a trial finds where there may be one."""
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
    """What a checkpoint holds: the model, or a copy with ordinary weights, into which adapters that go are merged."""
    is_whole = not quantization.is_quantized(model) and (keeps or not lora.is_adapted(model))
    if is_whole:
        return model

    found = copy.deepcopy(model).to("cpu")
    quantization.restore(found)
    if not keeps:
        lora.merge(found)
    return found
