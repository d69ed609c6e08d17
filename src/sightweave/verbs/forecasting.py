"""What a training run will cost, before it starts; and after it, what was predicted next to what was measured."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from sightweave import run as runs
from sightweave.core import memory as system_memory
from sightweave.core.device import (
    Precision,
    choose_device,
    choose_precision,
    keep_freed_memory,
    processor_name,
    set_threads,
)
from sightweave.core.errors import RecipeError
from sightweave.data.inputs.processor import Processor
from sightweave.data.reading.dataset import Dataset
from sightweave.models.adapters import lora, quantization
from sightweave.models.parts import enter_training, named_parts
from sightweave.models.vlm import VLM
from sightweave.programs.forecasting import devices, scaling, timing
from sightweave.programs.forecasting.devices import Device
from sightweave.programs.forecasting.flops import Flops
from sightweave.programs.forecasting.forecast import (
    SIMULATION_ERRORS,
    Forecast,
    StageForecast,
    StagePlan,
    fitting_batch_size,
    parts_of,
    size,
)
from sightweave.programs.forecasting.memory import GAPS, HEAP, Memory, of_state
from sightweave.programs.forecasting.simulation import Simulation
from sightweave.programs.forecasting.timing import StepTime
from sightweave.programs.forecasting.workload import Workload
from sightweave.programs.training import durations, trial
from sightweave.programs.training.feature_cache import FeatureCache
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.state import State
from sightweave.programs.training.trainer import TrainingData
from sightweave.programs.training.trial import Trials
from sightweave.programs.training.work import prepare
from sightweave.programs.training.world import World
from sightweave.recipe import Recipe
from sightweave.run import Run
from sightweave.verbs.building import composed
from sightweave.verbs.sources import (
    FEWEST,
    SHARE,
    build_sources,
    held_out_of,
    holding_out,
    mixing,
    read_recipe,
    say,
    with_data,
)

logger = logging.getLogger(__name__)
_FEWEST_TOKENS = 300
"""Vocabulary with which a model is built to see whether it fits at all: that of a tokenizer with hardly any text."""
_MOST_STATE = 4
"""Most bytes of state per byte of weights: weights, gradients and two moments."""
_FEW = 12
"""Microsteps whose lengths are looked at before training."""
_REHEARSAL_SECONDS = 20.0
"""Time after which a rehearsal starts no further update."""
_OVERHEAD = 1.1
"""Time of a step per time of a trial, which repeats one batch; measured as 1.05 to 1.15."""
_RATE_SHARE = 0.5
"""Share of the speed of a large matrix product that a step is assumed to reach where it cannot be tried."""


@dataclass(frozen=True)
class Planned:
    """A recipe with everything that a forecast reads of it; no weights."""

    recipe: Recipe
    sources: list[Dataset]
    processor: Processor
    workloads: list[Workload]
    build: Callable[[], VLM]
    """Builds the model on the meta device."""
    resident: int | None
    """Resident memory of this process before the microsteps were planned, in bytes; None if the system does not say."""

    @property
    def train(self) -> Settings:
        """Training settings, with steps in place of epochs."""
        return self.recipe.train


def forecast(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *settings: str,
    data: Any = None,
    device: str | None = None,
    count: int = 1,
    price: float | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> Forecast:
    """Forecasts parameters, operations, memory, time, energy and cost of a training run; nothing is trained or written.

    Memory and operations come from a step of the real model with the real data on the meta device. Time comes from a short
    trial on this machine, or, with `device`, from the vendor's figures for that device.

    Args:
        recipe: A YAML file, a mapping or a `Recipe`.
        settings: ``path=value`` settings.
        data: Used instead of the recipe's sources, in any of the forms that `train` takes.
        device: A device of the table, such as ``h100``; None means this machine.
        count: Number of such devices. They share the batch of each step.
        price: Price of one device for an hour, in any currency.
        now: Clock of the trial in seconds.

    Raises:
        RecipeError: a mistake in the recipe, parts that do not fit, or devices without a name.
        DataError: nothing to train on.
        BackendError: the device is not in the table.
    """
    if count < 1 or (count > 1 and device is None):
        raise RecipeError(
            f"count is {count}; name the devices (device=h100), or forecast for this machine with count=1."
        )
    entry = None if device is None else devices.device(device)

    recipe, settings, records = with_data(recipe, settings, data)
    planned = plan(read_recipe(recipe, settings), records, count=count)
    if entry is None:
        return _here(planned, price, now)
    return _elsewhere(planned, entry, count, price)


def check_fits(recipe: Recipe, device: torch.device) -> None:
    """Checks, before anything is built, that the state of each stage fits into the memory of a device at all.

    Raises:
        RecipeError: weights, gradients and optimizer state alone need more than the device or its control group has.
    """
    total = system_memory.total_bytes(device)

    def build() -> VLM:
        with torch.device("meta"):
            return recipe.model.build(vocab_size=_FEWEST_TOKENS, num_answers=1)

    weights = sum(one.nbytes for one in build().parameters())
    if total is None or _MOST_STATE * weights <= total:
        return
    for number, stage in enumerate(recipe.train.stages):
        model = build()
        prepare(model, stage, stage.lora)
        state = of_state(model, stage, recipe.train.quantize)
        if state.certain > total:
            raise RecipeError(
                f"train.stages, stage {stage.name!r}: weights ({size(state.weights)}), gradients ({size(state.gradients)}) "
                f"and optimizer state ({size(state.optimizer)}) need {size(state.certain)}, but {device.type} has "
                f"{size(total)} of memory. Train fewer parts (train.stages.{number}.parts), train adapters "
                f"(train.stages.{number}.lora), quantize frozen parts (train.quantize), or use a smaller model or a larger "
                "device."
            )


@contextlib.contextmanager
def watched(
    run: Run,
    data: TrainingData,
    settings: Settings,
    precision: Precision,
    folder: Path,
    state: State,
    world: World,
    console: Console | None,
) -> Iterator[Callable[[Trials], None]]:
    """Predicts memory and time when training begins, and reports them next to what was measured when it ends.

    A run that does not seem to fit into memory is warned about. Both figures are written to ``run.json``.

    Args:
        run: The run, untrained.
        data: Its training data.
        settings: Training settings with steps or minutes.
        precision: Device and number format.
        folder: The run's folder.
        state: State in which the training counts.
        world: The processes that train together; the first one predicts and reports.
        console: Where the lines are shown.

    Yields:
        A function that takes the results of the trials before the first step.
    """
    watch = Watch(run, data, settings, precision, num_processes=world.size)
    if not world.is_first:
        yield watch.predict_time
        return

    watch.predict_memory()
    for line in watch.warnings:
        logger.warning(line)
        say(console, line)

    steps, seconds = state.steps, state.seconds
    yield watch.predict_time
    done = [*state.stage_steps, state.step]
    watch.measure(steps=state.steps - steps, seconds=state.seconds - seconds)
    line = watch.to_text(done)
    if line:
        say(console, line)
        runs.record(folder, {"forecast": watch.to_json(done)})


class Watch:
    """Predictions for a training run, and what was measured.

    Args:
        run: The run, untrained.
        data: Its training data.
        settings: Training settings with steps or minutes.
        precision: Device and number format.
        num_processes: Number of processes that share each batch.
    """

    def __init__(
        self,
        run: Run,
        data: TrainingData,
        settings: Settings,
        precision: Precision,
        *,
        num_processes: int = 1,
    ) -> None:
        self.run, self.data, self.settings, self.precision = run, data, settings, precision
        self.num_processes = num_processes
        self.device = precision.device
        self.warnings: list[str] = []
        self.stages: list[Memory] = []
        """Predicted memory of each stage."""
        self.predicted_bytes: int | None = None
        self.measured_bytes: int | None = None
        self.predicted_seconds: list[float | None] = []
        """Seconds of an update in each stage; None without a trial."""
        self.measured_seconds: float | None = None

    def predict_memory(self) -> None:
        """Predicts the peak of all stages, and warns if it is more than there is."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # loads libraries that training loads, too
        is_cuda = self.device.type == "cuda"
        own = torch.cuda.memory_allocated(self.device) if is_cuda else system_memory.resident_bytes() or 0
        free = system_memory.free_bytes(self.device)

        totals = []
        for number, workload in enumerate(self._workloads()):
            found = self._stage_memory(workload)
            if found is None:
                return
            self.stages.append(found)
            needed = found.total - found.weights  # the weights are there already
            if self.device.type == "cpu":
                needed = int(HEAP * needed) + self._snapshot(found, workload.stage)
            totals.append(needed)
            if totals[-1] > free:
                self.warnings.append(_too_large(number, workload.stage, totals[-1], free, self.device))
        self.predicted_bytes = own + max(totals)

    def _snapshot(self, found: Memory, stage: Stage) -> int:
        return found.snapshot if _is_saved_within(stage.steps, self.settings) else 0

    def _workloads(self) -> Iterator[Workload]:
        for stage in self.settings.stages:
            own = dataclasses.replace(stage, batch_size=-(-stage.batch_size // self.num_processes))
            feed = Feed(
                self.data.datasets,
                dict(self.data.tasks),
                self.run.processor,
                own,
                seed=self.run.recipe.seed,
                quarantine=Quarantine(),
                mix=self.data.mix,
                too_long=self.settings.too_long,
            )
            yield Workload(feed, most=_FEW)

    def _stage_memory(self, workload: Workload) -> Memory | None:
        """The memory of a stage; None if the model cannot run without data."""
        processor, recipe = self.run.processor, self.run.recipe

        def build() -> VLM:
            with torch.device("meta"):
                return recipe.model.build(
                    vocab_size=processor.tokenizer.vocab_size, num_answers=len(processor.answers)
                )

        plan = StagePlan.of(
            build,
            workload,
            precision=self.precision.name,
            quantized=self.settings.quantize,
            is_cpu=self.device.type == "cpu",
            threads=torch.get_num_threads(),
        )
        batch = workload.batch(workload.largest)
        try:
            return plan.memory(batch, plan.simulate(batch))
        except SIMULATION_ERRORS as error:
            logger.info("memory is not predicted: the model cannot run without data (%s)", error)
            return None

    def predict_time(self, trials: Trials) -> None:
        """Predicts the time of a step in each stage from the trials before the first step."""
        for number, stage in enumerate(self.settings.stages):
            seconds = trials.seconds_of(number)
            if seconds is not None:
                prepare(self.run.model, stage, None)
                seconds *= _OVERHEAD
                seconds += timing.update_seconds(
                    self.run.model, stage, self.precision, threads=trials.threads
                )
            self.predicted_seconds.append(seconds)

        # On a CPU the trial has shown how much memory the passes take; the optimizer's state and gaps in the heap follow.
        resident = system_memory.resident_bytes() if self.device.type == "cpu" else None
        if resident is not None and self.stages and None not in self.predicted_seconds:
            later = []
            for one, stage in zip(self.stages, self.settings.stages, strict=True):
                later.append(int(one.optimizer + GAPS * one.activations) + self._snapshot(one, stage))
            self.predicted_bytes = resident + max(later)

    def measure(self, *, steps: int, seconds: float) -> None:
        """Reads the peak of the memory, and the mean time of a step."""
        if self.device.type == "cuda":
            self.measured_bytes = torch.cuda.max_memory_allocated(self.device)
        else:  # a heap that keeps freed memory is at its peak
            self.measured_bytes = system_memory.resident_bytes()
        self.measured_seconds = seconds / steps if steps else None

    def predicted_step(self, done: Sequence[int]) -> float | None:
        """Predicted mean seconds of a step, over the steps made in each stage; None if a stage had no trial."""
        total, steps = 0.0, 0
        for seconds, count in zip(self.predicted_seconds, done, strict=False):
            if count and seconds is None:
                return None
            total += count * (seconds or 0.0)
            steps += count
        return total / steps if steps and self.predicted_seconds else None

    def to_text(self, done: Sequence[int]) -> str:
        """One line with predicted and measured figures; empty if nothing was predicted."""
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
        """The figures for ``run.json``."""
        return {
            "step_seconds_predicted": self.predicted_step(done),
            "step_seconds_measured": self.measured_seconds,
            "memory_bytes_predicted": self.predicted_bytes,
            "memory_bytes_measured": self.measured_bytes,
        }


def _too_large(number: int, stage: Stage, needed: int, free: int, device: torch.device) -> str:
    """The warning that a stage does not seem to fit."""
    smaller = max(1, int(stage.batch_size * free / needed))
    return (
        f"stage {stage.name}: a step needs about {size(needed)}, but {size(free)} of memory is free on {device.type}, so it "
        f"may run out of memory; try train.stages.{number}.batch_size={smaller}, "
        f"train.stages.{number}.gradient_checkpointing=true, or adapters (train.stages.{number}.lora)"
    )


def plan(asked: Recipe, records: list[Any] | None, *, count: int = 1) -> Planned:
    """Opens the data and builds everything but weights; with several devices, for the share of the batch that one has."""
    tasks = asked.build_tasks()
    recipe = asked.resolved()
    recipe.check()
    torch.manual_seed(recipe.seed)
    recipe, sources = _training_data(recipe, records)

    # As in training: epochs become steps, and the tokenizer is read or trained.
    mix = mixing(recipe, records)
    epochs = durations.epochs(recipe.train.stages, sources, tasks, mix)
    recipe = dataclasses.replace(recipe, train=durations.resolved(recipe.train, epochs))
    build, processor = _empty(recipe, sources)

    resident = system_memory.resident_bytes()
    workloads = []
    for stage in recipe.train.stages:
        own = dataclasses.replace(stage, batch_size=-(-stage.batch_size // count))
        feed = Feed(
            sources,
            tasks,
            processor,
            own,
            seed=recipe.seed,
            quarantine=Quarantine(),
            mix=mix,
            too_long=recipe.train.too_long,
        )
        workloads.append(Workload(feed))
    return Planned(recipe, sources, processor, workloads, build, resident)


def _training_data(recipe: Recipe, records: list[Any] | None) -> tuple[Recipe, list[Dataset]]:
    """The recipe and its training sources, without the share that training would hold out."""
    sources = build_sources(recipe, records, "train")
    holding = holding_out(recipe)
    is_enough = sum(map(len, sources)) >= FEWEST
    may_hold_out = not recipe.evaluate.splits and is_enough and (records is not None or holding != recipe)
    if may_hold_out and not held_out_of(recipe, records):
        return holding, build_sources(holding, records, "train", None, SHARE)
    return recipe, sources


def _empty(recipe: Recipe, sources: Sequence[Dataset]) -> tuple[Callable[[], VLM], Processor]:
    """Builds models without weights, and the processor."""
    if recipe.init_from:
        run = composed(recipe, sources, torch.device("cpu"))
        tokenizer, answers = run.processor.tokenizer, run.processor.answers
    else:
        tokenizer, answers = recipe.build_tokenizer(sources), recipe.build_answers(sources)
    vocab_size, num_answers = tokenizer.vocab_size, len(answers)

    def build() -> VLM:
        with torch.device("meta"):
            return recipe.model.build(vocab_size=vocab_size, num_answers=num_answers)

    return build, recipe.build_processor(tokenizer, build(), answers)


def _here(planned: Planned, price: float | None, now: Callable[[], float]) -> Forecast:
    """The forecast for this machine, by a trial of each stage."""
    train = planned.train
    keep_freed_memory()
    device = choose_device(train.device)
    threads = set_threads(train.num_threads)
    precision = choose_precision(train.precision, device)
    capacity = system_memory.free_bytes(device)
    before = planned.resident if device.type == "cpu" else None

    # Memory first: what does not fit is not tried.
    plans = []
    for workload in planned.workloads:
        plans.append(_stage_plan(planned, workload, precision.name, device.type, threads))
    forecasts = [simulated(plan, capacity).forecast for plan in plans]
    if all(one.fits for one in forecasts):
        tried = _trials(planned, precision, threads, now, before)
        forecasts = [_with_trial(*pair) for pair in zip(forecasts, tried, strict=True)]
        if device.type == "cpu":
            forecasts = [_with_snapshot(one, train) for one in forecasts]
    else:
        rate = _RATE_SHARE * _matmul_rate(precision)
        note = "a step does not fit, so its time is that of its operations at half the speed of a matrix product here"
        for number, one in enumerate(forecasts):
            guessed = _with_time(one, StepTime(gradients=one.flops_of_step / rate))
            forecasts[number] = dataclasses.replace(guessed, notes=[*one.notes, note])

    return Forecast(
        stages=forecasts,
        device=f"this machine ({processor_name(device)}, {device.type})",
        precision=precision.name,
        price=price,
        notes=["energy is unknown for this machine; name a device of the table for it"],
    )


def _stage_plan(planned: Planned, workload: Workload, precision: str, device: str, threads: int) -> StagePlan:
    return StagePlan.of(
        planned.build,
        workload,
        precision=precision,
        quantized=planned.train.quantize,
        is_cpu=device == "cpu",
        threads=threads,
    )


@dataclass(frozen=True)
class Simulated:
    """A stage on one device with the whole state, and the simulations behind its forecast."""

    forecast: StageForecast
    typical: Simulation | None
    """A microstep of mean size; None if the model cannot run without data."""
    memory_by_size: Sequence[tuple[float, int]] = ()
    """Two batch sizes with their bytes at the peak; none if the data is too small for two."""


def simulated(plan: StagePlan, capacity: int, *, count: int = 1) -> Simulated:
    """Parameters, operations and memory of a stage; its time is still to be found.

    Args:
        plan: The stage.
        capacity: Bytes that a device has.
        count: Number of devices, each with a batch of the plan's size.
    """
    workload, stage = plan.workload, plan.stage
    memory, typical, flops = plan.state(), None, Flops()
    sizes: list[tuple[float, int]] = []
    notes = []
    chosen = workload.typical(1)[0]
    try:
        largest = workload.batch(workload.largest)
        memory = plan.memory(largest, plan.simulate(largest))
        typical = plan.simulate(workload.batch(chosen))
        each = max(1, chosen.samples)
        flops = Flops(typical.flops.forward // each, typical.flops.backward // each)
        sizes = _memory_by_size(plan, memory.total)
    except SIMULATION_ERRORS as error:
        notes.append(f"activations and operations are unknown: the model cannot run without data ({error})")

    per_step = stage.gradient_accumulation_steps * count
    found = StageForecast(
        name=stage.name,
        steps=stage.steps,
        parts=parts_of(plan.subject.model),
        flops=flops,
        samples=workload.samples * per_step,
        tokens=workload.tokens * per_step,
        memory=memory,
        capacity=capacity,
        time=StepTime(gradients=0.0),
        seconds=60 * (stage.minutes or 0.0),
        batch_size=stage.batch_size * count,
        fitting_batch_size=_fitting(plan, sizes, memory.total, capacity) * count,
        notes=notes,
    )
    return Simulated(found, typical, sizes)


def _memory_by_size(plan: StagePlan, total: int) -> list[tuple[float, int]]:
    """The memory of the stage's batch size, and of one twice or half as large."""
    size_here, other = plan.stage.batch_size, plan.workload.other_size()
    if other is None:
        return []
    factor, rows = other
    batch = plan.workload.feed.batch_of(rows)
    found = plan.memory(batch, plan.simulate(batch)).total
    return [(size_here, total), (factor * size_here, found)]


def _fitting(plan: StagePlan, sizes: Sequence[tuple[float, int]], total: int, capacity: int) -> int:
    """The largest batch size that fits; the present one or none if the data is too small to tell."""
    if plan.is_cpu:
        capacity = int(capacity / HEAP)
    if len(sizes) < 2:
        return plan.stage.batch_size if total <= capacity else 0
    return fitting_batch_size(sizes[0], sizes[1], capacity)


def _with_time(stage: StageForecast, step: StepTime) -> StageForecast:
    seconds = stage.seconds if stage.steps is None else stage.steps * step.total
    return dataclasses.replace(stage, time=step, seconds=seconds)


@dataclass(frozen=True)
class _Tried:
    """What the trial of one stage found."""

    step: StepTime
    resident: int | None
    """Bytes of resident memory that the stage added to the process; None where it is not the device's."""
    seconds: float | None
    """Seconds of a real update; None if there were too few."""


def _with_trial(stage: StageForecast, tried: _Tried) -> StageForecast:
    step = tried.step if tried.seconds is None else tried.step.with_total(tried.seconds)
    if tried.resident is not None:
        stage = dataclasses.replace(stage, memory=stage.memory.resident(tried.resident))
    return _with_time(stage, step)


def _with_snapshot(stage: StageForecast, train: Settings) -> StageForecast:
    """Adds the snapshot of a checkpoint, if the stage is long enough for one."""
    if not _is_saved_within(stage.steps, train):
        return stage
    return dataclasses.replace(stage, memory=stage.memory.plus(other=stage.memory.snapshot))


def _is_saved_within(steps: int | None, train: Settings) -> bool:
    """Whether a stage of this many steps saves a checkpoint before it ends; one with minutes may."""
    return steps is None or steps > train.save_every


def _trials(
    planned: Planned, precision: Precision, threads: int, now: Callable[[], float], before: int | None
) -> list[_Tried]:
    """Tries each stage with a model of its own, which is thrown away; `before` is the memory that the process held."""
    train, device = planned.train, precision.device
    run = composed(planned.recipe, planned.sources, torch.device("cpu") if train.quantize else device)
    model = run.model
    for part, form in train.quantize.items():
        quantization.quantize(named_parts(model)[part], form, where=part)
    model.to(device)

    may_choose = train.num_threads is None and device.type == "cpu"
    numbers = trial.counts(threads) if may_choose else [threads]
    # Choose the number of threads by all stages, then rehearse each of them with it.
    found = [_try_stage(model, workload, precision, numbers, now) for workload in planned.workloads]
    trials = trial.Trials.of(train.stages, [seconds for seconds, _ in found], otherwise=threads)
    torch.set_num_threads(trials.threads)

    tried = []
    for workload, (seconds, rest) in zip(planned.workloads, found, strict=True):
        step = dataclasses.replace(rest, gradients=seconds[trials.threads])
        rehearsal = timing.rehearse(model, workload, precision, seconds=_REHEARSAL_SECONDS, now=now)
        lora.merge(model)
        known = before is not None and rehearsal.resident is not None
        grown = rehearsal.resident - before if known else None  # type: ignore[operator]  # both are known
        # A cache of features is still empty in a rehearsal.
        has_time = not workload.stage.cache_features
        tried.append(_Tried(step, grown, rehearsal.seconds if has_time else None))
    return tried


def _try_stage(
    model: VLM,
    workload: Workload,
    precision: Precision,
    numbers: Sequence[int],
    now: Callable[[], float],
) -> tuple[dict[int, float], StepTime]:
    """Seconds of the gradients with each number of threads, and of the rest of a step."""
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
    """Share of a stage's images that its feature cache does not know yet."""
    stage = workload.stage
    if stage.steps is None:
        return 0.0
    shown = stage.steps * stage.batch_size * stage.gradient_accumulation_steps
    return min(1.0, workload.feed.size / max(1, shown))


def _matmul_rate(precision: Precision) -> float:
    """Operations a second of a large matrix product."""
    side = 1024
    kind = torch.bfloat16 if precision.name == "bf16" else torch.float32
    left = torch.ones(side, side, dtype=kind, device=precision.device)

    def work() -> None:
        left @ left
        if precision.device.type == "cuda":
            torch.cuda.synchronize(precision.device)

    (seconds,) = trial.measure(work, [torch.get_num_threads()]).values()
    return 2 * side**3 / max(seconds, 1e-9)


def _elsewhere(planned: Planned, device: Device, count: int, price: float | None) -> Forecast:
    """The forecast for devices of the table."""
    precision = "fp32" if planned.train.precision == "fp32" else "bf16"
    notes = [
        f"computed, not measured: matrix products at {devices.MATMUL_SHARE:.0%} of the stated peak, other operators at "
        f"{devices.BANDWIDTH_SHARE:.0%} of the memory bandwidth, at least {devices.LAUNCH_SECONDS * 1e6:g} us per operator"
    ]
    if precision == "fp32":
        notes.append("train.precision is fp32, but the time is that of bf16; fp32 is several times slower")

    stages = []
    for workload, stage in zip(planned.workloads, planned.train.stages, strict=True):
        if stage.batch_size % count:
            notes.append(
                f"stage {stage.name}: batch_size {stage.batch_size} is not a multiple of {count} devices; the forecast is "
                f"for {workload.stage.batch_size * count}"
            )
        plan = _stage_plan(planned, workload, precision, "cuda", 1)
        found = simulated(plan, device.usable_bytes, count=count)
        stages.append(spread(plan, found, device, count))
    return Forecast(
        stages=stages,
        device=device.title,
        count=count,
        precision=precision,
        peak_flops=device.flops,
        watts=device.watts,
        price=price,
        source=device.source,
        notes=notes,
    )


def spread(plan: StagePlan, found: Simulated, device: Device, count: int) -> StageForecast:
    """The forecast of a stage on `count` devices of the table, each with a batch of the plan's size."""
    forecast, stage = found.forecast, plan.stage
    model = scaling.Model.of(plan.subject.model)
    layout = scaling.choose(forecast.memory, model, device, count)
    memory = scaling.per_device(forecast.memory, model, layout, count)

    # Sharding leaves more room for the batch.
    saved = forecast.memory.total - memory.total
    fitting = _fitting(plan, found.memory_by_size, forecast.memory.total, device.usable_bytes + saved)
    forecast = dataclasses.replace(forecast, memory=memory, layout=layout, fitting_batch_size=fitting * count)
    if found.typical is None:
        return forecast

    # Time: operators of the microsteps, the device's share of the update, and what is exchanged.
    update = timing.Update.of(plan.subject.model, stage)
    own = update.shared(count) if layout == "sharded" else update
    step = timing.computed([found.typical] * stage.gradient_accumulation_steps, device, own)
    exchange = scaling.exchange_seconds(model, layout, device, count)
    if layout == "sharded":  # weights are gathered again in each microstep
        exchange *= stage.gradient_accumulation_steps
    return _with_time(forecast, dataclasses.replace(step, communication=exchange))
