"""The training loop: stages of steps; each step is a forward pass, a loss on the targets, a backward pass and an update."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from sightweave.core import memory
from sightweave.core.device import Precision
from sightweave.core.errors import CheckpointError, DataError, SightweaveError
from sightweave.data.inputs.order import Mixing, shuffled
from sightweave.data.inputs.processor import Processor
from sightweave.data.reading.dataset import Dataset
from sightweave.models.adapters import lora, quantization
from sightweave.models.parts import named_parts
from sightweave.models.vlm import VLM
from sightweave.programs.training import durations, rates, spikes, trial, validation
from sightweave.programs.training.context_parallel import ContextParallel
from sightweave.programs.training.early_stopping import Best, Stopped, Validated, better
from sightweave.programs.training.feed import Feed, Step
from sightweave.programs.training.logs import Averages, Report, RunLog
from sightweave.programs.training.quarantine import FILE_NAME
from sightweave.programs.training.rows import is_sharded, own
from sightweave.programs.training.seen import Seen
from sightweave.programs.training.settings import Settings
from sightweave.programs.training.sharding import Sharding
from sightweave.programs.training.shares import Share
from sightweave.programs.training.split_model import SplitModel
from sightweave.programs.training.state import State
from sightweave.programs.training.stopping import stop_signals
from sightweave.programs.training.tensor_parallel import TensorParallel
from sightweave.programs.training.trial import Trials
from sightweave.programs.training.validation import Validation
from sightweave.programs.training.weight_average import WeightAverage
from sightweave.programs.training.work import Work
from sightweave.programs.training.world import World

logger = logging.getLogger(__name__)
_BEST_LOST = "stage %s ends with its last weights, since those of step %s, the best, cannot be read: %s"

Save = Callable[[State, VLM], None]
"""Writes a checkpoint from the state to resume from and the model to save.

The state has tensors until training has finished. They share memory with the model and the optimizer, so write or copy them
before returning. With a split model, all processes call it together, each with its share of the state. At the end, this
share has the weights, but its `data` is empty.
"""


class NonFiniteLoss(SightweaveError):
    """The loss or the gradient is not finite; no update was made with it."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Where checkpoints go; by default nowhere."""

    save: Save = lambda _state, _model: None
    """Called every `save_every` steps, after the best validation, at the end, and when interrupted."""
    finish: Callable[[], None] = lambda: None
    """Called after the last save, to wait until it is on disk."""
    read: Callable[[int], State] | None = None
    """Reads the state that was saved after a number of updates, for the best weights of a stage."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The data of a training run."""

    datasets: Sequence[Dataset]
    """Sources of the training split."""
    tasks: Mapping[str, Any]
    """Tasks by name, for the records of the sources."""
    mix: Sequence[Mixing] = ()
    """How often each source is used; if empty, each is used once per epoch."""
    validation: Sequence[Dataset] = ()
    """Sources of the validation split, never of a test split; empty for no validation."""
    task_settings: Mapping[str, Any] = field(default_factory=dict)
    """Config of each task, for the scores of the validation; the others get their defaults."""


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
            run had before its first stage; `run` loads the weights of the state. If `world` splits it, it stays split and
            is of no use afterwards; load what was saved.
        processor: The model's processor.
        data: The training data.
        settings: Stages, and how often to log and save.
        precision: Device and number format.
        out: Run folder, for metrics, events and the quarantine.
        seed: Random seed of the order, the choice of samples and dropout.
        storage: Where checkpoints go.
        state: State to resume from, in which `run` counts; by default a new one.
        world: The processes that train together. All of them call `run`; the first one writes the files.

    Raises:
        RecipeError: a stage names an unknown part, or `data` and `settings` do not fit.
        DataError: no usable training data.
        CheckpointError: the state belongs to different data or different stages.
        BackendError: a library that the settings need is not installed, or the processes have different data.
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
        storage: Storage = Storage(),
        state: State | None = None,
        world: World | None = None,
    ) -> None:
        self.model, self.precision, self.out = model, precision, out
        self.storage = storage
        self.world = world or World()
        self.seed = seed
        torch.manual_seed(seed)

        # Quantize before moving: the full-precision model may not fit on the device.
        for part, form in settings.quantize.items():
            quantization.quantize(named_parts(model)[part], form, where=part)
        self.split: SplitModel | None = None
        if self.world.tensor is not None:
            self.split = TensorParallel(model, settings, self.world, precision.device)
        elif self.world.shards:
            self.split = Sharding(model, settings, self.world, precision.device)
        else:
            model.to(precision.device)
        self.context = None if self.world.context is None else ContextParallel(model, self.world)

        has_epochs = any(stage.epochs is not None for stage in settings.stages)
        if has_epochs:
            epochs = durations.epochs(settings.stages, data.datasets, data.tasks, data.mix)
            settings = durations.resolved(settings, epochs)
        self.settings = settings = rates.scaled(settings)

        self.state = state or State()
        self.state.precision = precision.name
        self.state.quarantine.path = out / FILE_NAME if self.world.is_first else None
        self.state.quarantine.is_shared = self.world.size > 1
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

        validation.check(settings, has_data=any(map(len, data.validation)))
        self.validations = [
            Validation(
                data.validation,
                data.tasks,
                processor,
                feed.stage,
                settings,
                words=feed.words,
                precision=precision,
                task_settings=data.task_settings,
            )
            for feed in self.feeds
        ]

        self.world.check_same("the training data", self._data)
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

        with self._open_log(console, report) as log, stop_signals() as stop:
            if log is not None:
                log.stop = stop
            resumable = self._train(log, stop)
            state.seconds = self._seconds()

            # The last step of a stage with minutes is not known in advance.
            is_timed = any(stage.steps is None for stage in self.settings.stages)
            signal = max(self.world.gather(stop[0] if stop else 0))
            is_interrupted = bool(signal) and (is_timed or state.steps < state.planned_steps)

            # Save before the outer signal handlers are restored: a signal must not lose the last steps now.
            self._save_last(resumable if is_interrupted else state)
            self.storage.finish()
            if log is not None:
                log.raise_failure()
            return Ending(is_interrupted, signal)

    def _train(self, log: RunLog | None, stop: Sequence[int]) -> State:
        """The loop. Returns the state to resume from if it was stopped, and the final state, without tensors, if not."""
        state, world = self.state, self.world

        while state.stage < len(self.settings.stages):
            work = self._begin_stage()
            is_complete = is_over = work.pace.is_over(state.step) or self._is_out_of_patience()

            with contextlib.closing(work.feed.updates(state.position, state.within)) as updates:
                while not is_over:
                    # Compute the gradient and update.
                    factor = self._factor(work)
                    self._seed_update()
                    microsteps = self._next(updates)
                    is_measured = (state.step + 1) % self.settings.log_every == 0
                    loss = work.loss(microsteps, is_measured=is_measured)
                    norm = work.clip(is_measured=is_measured)
                    self._check_finite(loss, norm, work, microsteps)
                    work.update(factor, state.step)

                    # Count the update, and find out whether it was the last one.
                    self._count(work, microsteps, loss, norm)
                    is_complete = world.agree(work.pace.is_over(state.step))
                    more = self._spike(loss, microsteps) | self._validate(work, is_last=is_complete)
                    is_complete = is_complete or world.agree(self._is_out_of_patience())
                    state.planned_steps = self._planned(work)

                    # A stop leaves the log as it is: the resumed training completes the row.
                    if state.step % self.settings.log_every == 0 or is_complete:
                        self._log(log, work, factor, more)
                    elif more and log is not None:
                        log.write(state.steps - 1, more | {"stage": work.stage.name})
                    is_stopped = world.agree(bool(stop))
                    is_over = is_complete or is_stopped
                    is_due = state.steps % self.settings.save_every == 0 or self._is_kept()
                    if is_due and not is_stopped:
                        self._save(self._snapshot(work), work.optimizer.average)

            is_last = state.stage == len(self.settings.stages) - 1
            if world.agree(bool(stop)) and not (is_complete and is_last):
                return self._stopped(work)
            self._end_stage(work)

        return state

    # The phases of a stage.

    def _begin_stage(self) -> Work:
        """Prepares the model for the stage that the state names, and restores the state if it has tensors."""
        state = self.state
        stage, feed = self.settings.stages[state.stage], self.feeds[state.stage]
        work = Work.begin(
            self.model,
            feed,
            stage,
            self.precision,
            spent=state.stage_seconds,
            split=self.split,
            context=self.context,
        )

        if state.model:
            load = None if self.split is None else self.split.load
            state.restore(self.model, work.optimizer, self.precision.device, load)
        else:
            state.losses.append([])
            state.validations.append([])
            state.best, state.without_improvement = None, 0
            state.recent_losses, state.is_in_spike = [], False
            state.averages = Averages(since=self._seconds())

        # The same commands give the same weights, except for adapters and on machines that round differently.
        self._copy_weights(work)
        return work

    def _copy_weights(self, work: Work) -> None:
        """Gives all processes the weights of the first one, and their averages, except for those that are split."""
        tensors = [own(value) for value in self.model.state_dict().values() if not is_sharded(value)]
        if work.optimizer.average is not None and self.split is None:
            tensors += work.optimizer.average.values.values()
        self.world.copy_from_first(tensors)

    def _factor(self, work: Work) -> float:
        """The fraction of the peak learning rate; by the clock of the first process if the stage has minutes."""
        factor = work.pace.factor(self.state.step)
        return factor if work.stage.steps is not None else float(self.world.from_first(factor))

    def _seed_update(self) -> None:
        """Seeds the dropout of one update differently for each share, so that resuming needs no random states of others."""
        if self.world.size > 1:
            data = self.world.data
            number = self.state.steps * data.size + data.rank
            torch.manual_seed(shuffled(self.seed, number, 0, 1 << 62))

    def _next(self, updates: Iterator[list[Step]]) -> list[Step]:
        """The microsteps of one update; adds the time spent waiting for them to the state."""
        began = time.perf_counter()
        microsteps = next(updates)
        waited = time.perf_counter() - began
        self.state.feed_seconds += waited
        self.state.averages.waiting += waited
        return microsteps

    def _check_finite(self, loss: float, norm: float, work: Work, microsteps: Sequence[Step]) -> None:
        """Raises `NonFiniteLoss` if an update would make the weights useless."""
        if math.isfinite(loss) and math.isfinite(norm):
            return
        # Every process reaches this together, since loss and norm are the same in all.
        samples = ", ".join(chain.from_iterable(self.world.data.gather(list(microsteps[-1].ids[:5]))))
        error = NonFiniteLoss(
            f"stage {work.stage.name!r}, step {self.state.step}: loss {loss}, gradient norm {norm}; no update was made with "
            f"it. Samples of its last batch: {samples}. Lower the learning rate, or check the samples."
        )
        error.is_reported = not self.world.is_first
        raise error

    def _count(self, work: Work, microsteps: Sequence[Step], loss: float, norm: float) -> None:
        """Counts one update of all processes. Microsteps that were prepared in advance and not used are not counted."""
        state = self.state
        state.step += 1
        state.steps += 1
        state.stage_seconds = work.pace.spent
        state.seconds = self._seconds()

        state.position, state.within = microsteps[-1].position, microsteps[-1].within
        for one in microsteps:
            # Microsteps of one window may hold its images in any order, so a later one may end earlier.
            state.end = max(state.end, one.end)

        share = Share.of(microsteps, state.quarantine.news()).over_all(self.world.data)
        state.samples += share.samples
        state.pictures += len(share.pictures)
        state.tokens += share.tokens
        for number in share.pictures:
            state.seen.add(number)
        if self.world.size > 1:
            self._merge_quarantine(share)

        if state.languages is not None:
            state.languages |= work.feed.languages
        pictures = len(share.pictures)
        state.averages.add(
            loss=loss, norm=norm, tokens=share.tokens, pictures=pictures, samples=share.samples
        )

    def _merge_quarantine(self, share: Share) -> None:
        """Records what all processes left out; raises `DataError` in all of them if it is too much."""
        try:
            self.state.quarantine.merge(share.left_out)
            if not self.state.samples:
                raise DataError(
                    f"none of the images so far can be read ({self.state.left_out}); see {FILE_NAME} in the run's folder."
                )
        except DataError as error:
            error.is_reported = not self.world.is_first
            raise

    def _planned(self, work: Work) -> int:
        """Expected updates over all stages; later stages with minutes count as none."""
        step = self.state.step
        expected = step if self._is_out_of_patience() else work.pace.expected(step)
        later = self.settings.stages[self.state.stage + 1 :]
        return sum(self.state.stage_steps) + expected + sum(one.steps or 0 for one in later)

    def _validate(self, work: Work, *, is_last: bool) -> dict[str, float | str]:
        """Validates if it is time to, compares with the best so far, and returns the numbers for the log."""
        state = self.state
        validation = self.validations[state.stage]
        if not validation.is_due(state.step, is_last=is_last):
            return {}

        began = time.perf_counter()
        found = self._validated(work, validation)
        row: dict[str, float | str] = {}
        if found is not None:
            row = found.row()
            state.validations[-1].append(found)
            best = better(state.best, found, self.settings.best_by)
            state.without_improvement = 0 if best else state.without_improvement + 1
            state.best = best or state.best

        # Neither the stage's clock nor the speed in the log includes it.
        seconds = time.perf_counter() - began
        state.validation_seconds += seconds
        state.averages.since += seconds
        work.pace.pause(seconds)
        return row

    def _validated(self, work: Work, validation: Validation) -> Validated | None:
        """The result of a validation, which the first process makes while the others wait.

        With a split model, all of them make it together.
        """
        found = None
        if self.split is not None:
            with work.averaged(), self.split.readable():
                found = validation.run(self.model, step=self.state.steps)
        elif self.world.is_first:
            with work.averaged():
                found = validation.run(self.model, step=self.state.steps)
        if self.world.size == 1:
            return found

        self.world.wait_for_first()
        values = self.world.from_first(None if found is None else asdict(found))
        return None if values is None else Validated(**values)

    def _spike(self, loss: float, microsteps: Sequence[Step]) -> dict[str, float | str]:
        """The numbers for the log if a spike of the loss begins with this update, with the ids of its first samples."""
        state = self.state
        is_spike = spikes.is_spike(loss, state.recent_losses)
        row: dict[str, float | str] = {}
        if is_spike and not state.is_in_spike:
            row = spikes.row(loss, state.recent_losses, [name for one in microsteps for name in one.ids])

        state.is_in_spike = is_spike
        state.recent_losses = [*state.recent_losses, loss][-spikes.WINDOW :]
        return row

    def _is_out_of_patience(self) -> bool:
        """Whether the stage ends early, since no validation was better for too long."""
        return 0 < self.settings.patience <= self.state.without_improvement

    def _is_kept(self) -> bool:
        """Whether the stage may end with the present weights, since no validation was better so far."""
        best = self.state.best
        return self.settings.keep == "best" and best is not None and best.step == self.state.steps

    def _load_best(self, work: Work) -> int:
        """Loads the weights of the stage's best validation if the stage ends with them; returns their number of updates.

        If their checkpoint cannot be read, the last weights stay, which is better than no weights.
        """
        if (
            self.settings.keep == "last"
            or self.state.best is None
            or self._is_kept()
            or self.storage.read is None
        ):
            return self.state.steps

        if self.split is not None:
            return self._read_best_rows(work, self.split, self.state.best, self.storage.read)
        steps = self._read_best(work, self.state.best, self.storage.read) if self.world.is_first else 0
        if self.world.size > 1:
            self.world.wait_for_first()
            steps = int(self.world.from_first(steps))
            self._copy_weights(work)
        return steps

    def _read_best(self, work: Work, best: Best, read: Callable[[int], State]) -> int:
        """Reads the weights of the best validation into the model; returns their number of updates."""
        try:
            saved = read(best.step)
            if work.optimizer.average is not None:
                work.optimizer.average.load_state_tensors(saved.optimizer)
            self.model.load_state_dict(saved.model)
        except (CheckpointError, OSError) as error:
            logger.warning(_BEST_LOST, work.stage.name, best.step, error)
            return self.state.steps
        return best.step

    def _read_best_rows(self, work: Work, split: SplitModel, best: Best, read: Callable[[int], State]) -> int:
        """As `_read_best`, where each process reads its own rows, or none does."""
        saved = None
        if not self.world.is_first:
            self.world.wait_for_first()  # it completes the checkpoint
        try:
            saved = read(best.step)
        except (CheckpointError, OSError) as error:
            logger.warning(_BEST_LOST, work.stage.name, best.step, error)
        if self.world.is_first:
            self.world.wait_for_first()
        if self.world.agree(saved is None) or saved is None:
            return self.state.steps

        if work.optimizer.average is not None:
            work.optimizer.load_average(saved.optimizer)
        split.load(saved.model)
        return best.step

    def _open_log(
        self, console: Console | None, report: Report | None
    ) -> contextlib.AbstractContextManager[RunLog | None]:
        """The log of the run; None in the other processes."""
        if not self.world.is_first:
            return contextlib.nullcontext()
        state = self.state
        return RunLog(
            self.out, steps=state.planned_steps, first_step=state.steps, console=console, report=report
        )

    def _log(self, log: RunLog | None, work: Work, factor: float, more: Mapping[str, float | str]) -> None:
        """Writes a row of the means since the last row, with the numbers of a validation if there was one."""
        state = self.state
        row = state.averages.row(self._seconds())
        row |= {"stage": work.stage.name, "lr": factor * work.stage.optimizer.lr}
        row["peak_memory_bytes"] = memory.peak_bytes(self.precision.device)
        row |= work.norms.take() | work.gradients.logit_norms.take()
        row |= more

        if log is not None:
            log.progress.steps = state.planned_steps
            log.write(state.steps - 1, row)  # logs count from 0

        state.losses[-1].append(float(row["loss"]))
        state.averages = Averages(since=self._seconds())

    def _end_stage(self, work: Work) -> None:
        """Ends a stage with its best or averaged weights, and merges adapters for the next one.

        The next stage begins after the last image trained on.
        """
        state = self.state
        if not work.pace.is_over(state.step):
            expected = work.pace.expected(state.step)
            state.stopped_early.append(
                Stopped(work.stage.name, state.step, expected, state.best, self.settings.patience)
            )

        state.kept_steps.append(self._load_best(work))
        if work.optimizer.average is not None:
            work.optimizer.average.apply()
        if state.stage < len(self.settings.stages) - 1:
            lora.merge(self.model)

        state.stage_steps.append(state.step)
        state.stage += 1
        state.step, state.stage_seconds = 0, 0.0
        state.position, state.within = state.end, 0

    # Saving.

    def _snapshot(self, work: Work) -> State:
        """The state to resume from, with all its tensors."""
        state = self.state.snapshot(self.model, work.optimizer, self.precision.device, data=self._data)
        return state if self.split is None else self.split.share_of(state)

    def _stopped(self, work: Work) -> State:
        """The state to resume from; leaves the average of the weights, which is saved, in the model."""
        state = self._snapshot(work).on_cpu()
        average = work.optimizer.average
        if average is not None and self.split is None:
            # On a CPU the snapshot shares memory with the model, which is about to change.
            state.model = {name: value.clone() for name, value in state.model.items()}
            average.apply()
        return state

    @cached_property
    def _data(self) -> str:
        """Fingerprint of the data; it is the same for all stages."""
        return self.feeds[0].fingerprint

    @property
    def _keeps_adapters(self) -> bool:
        """Whether adapters are saved separately. Only those of the last stage are, since loading expects those or none."""
        return bool(self.settings.kept) and self.state.stage >= len(self.settings.stages) - 1

    def _save(self, state: State, average: WeightAverage | None = None) -> None:
        """Saves during a stage, with ordinary weights, or with their average."""
        if self.split is not None:  # each process saves its share
            self.storage.save(state, self.model)
            return
        if self.world.is_first:
            self.storage.save(state, whole(self.model, keeps=self._keeps_adapters, average=average))
        self.world.wait_for_first()

    def _save_last(self, state: State) -> None:
        """Saves at the end, and leaves the model with ordinary weights, unless it is split."""
        if self.split is not None:
            if not state.model:
                state = replace(state, model=self.split.share(self.model.state_dict()), data="")
            self.storage.save(state, self.model)
            return
        if quantization.is_quantized(self.model):
            # Save first: the full-precision model may not fit on the device.
            self._save(state)
        quantization.restore(self.model)
        if not self._keeps_adapters:
            lora.merge(self.model)
        if self.world.is_first:
            self.storage.save(state, self.model)
        self.world.wait_for_first()

    # Time and threads.

    def _seconds(self) -> float:
        """Wall time of the loop, including the time before it was resumed."""
        return time.perf_counter() - self._began

    def _choose_threads(self, begins: Callable[[Trials], None] | None) -> None:
        """Sets the number of torch threads: that of the state, or what a trial finds if the settings leave it open."""
        is_on_cpu = self.precision.device.type == "cpu"
        may_choose = self.settings.num_threads is None and is_on_cpu and self.world.size == 1
        if may_choose and self.state.threads:
            torch.set_num_threads(self.state.threads)  # another number may round sums differently
            may_choose = False

        if begins is not None:
            present = torch.get_num_threads()
            threads = trial.counts(present) if may_choose else [present]
            if self.world.size == 1:
                trials = trial.of_stages(self.model, self.feeds, self.settings, self.precision, threads)
            else:
                trials = Trials.of(self.settings.stages, [None] * len(self.feeds), otherwise=present)
            torch.set_num_threads(trials.threads)
            begins(trials)
        self.state.threads = torch.get_num_threads()


def whole(model: VLM, *, keeps: bool, average: WeightAverage | None = None) -> VLM:
    """The model to save: itself, or a copy with ordinary weights, with adapters merged unless `keeps`.

    With an `average`, a copy with the averages in place of the weights.
    """
    is_whole = not quantization.is_quantized(model) and (keeps or not lora.is_adapted(model))
    if is_whole and average is None:
        return model

    found = copy.deepcopy(model).to("cpu")
    if average is not None:
        average.write_into(found)
    quantization.restore(found)
    if not keeps:
        lora.merge(found)
    return found
