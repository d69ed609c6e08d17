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
from sightweave.models.vlm import VLM
from sightweave.programs.forecasting import devices
from sightweave.programs.forecasting.devices import Device
from sightweave.programs.forecasting.forecast import Forecast, StageForecast, StagePlan, size
from sightweave.programs.forecasting.memory import of_state
from sightweave.programs.forecasting.stages import simulated, spread, with_time
from sightweave.programs.forecasting.timing import StepTime
from sightweave.programs.forecasting.trials import matmul_rate, try_stages, with_trial
from sightweave.programs.forecasting.watch import Watch, is_saved_within
from sightweave.programs.forecasting.workload import Unlogged, Workload
from sightweave.programs.training import durations
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.settings import Settings
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
    if total is not None and device.type == "cuda":
        # Each process has a device of its own, and its share of the state.
        total *= recipe.mesh.dp if recipe.mesh.shard else recipe.mesh.tp

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
                f"(train.stages.{number}.lora), quantize frozen parts (train.quantize), shard the weights over several GPUs "
                "(mesh.shard) or split the language model (mesh.tp), or use a smaller model or a larger device."
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
    if world.shards or world.context is not None:  # the simulation knows nothing of shares
        yield lambda _trials: None
        return
    processor = run.processor

    def build() -> VLM:
        vocab_size, num_answers = processor.tokenizer.vocab_size, len(processor.answers)
        with torch.device("meta"):
            return run.recipe.model.build(vocab_size=vocab_size, num_answers=num_answers)

    watch = Watch(
        run.model,
        build,
        processor,
        data,
        settings,
        precision,
        seed=run.recipe.seed,
        num_processes=world.size,
    )
    if not world.is_first:
        yield watch.predict_time
        return

    with torch.random.fork_rng(
        devices=[]
    ):  # adapters are built with random numbers, which are those of the training
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


def plan(asked: Recipe, records: list[Any] | None, *, count: int = 1) -> Planned:
    """Opens the data and builds everything except the weights.

    With several devices, the plan is for the share of the batch of one device.
    """
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
            quarantine=Unlogged(),
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
        home = torch.device("cpu") if train.quantize else device
        model = composed(planned.recipe, planned.sources, home).model
        tried = try_stages(
            model, planned.workloads, train, precision, threads=threads, before=before, now=now
        )
        forecasts = [with_trial(*pair) for pair in zip(forecasts, tried, strict=True)]
        if device.type == "cpu":
            forecasts = [_with_snapshot(one, train) for one in forecasts]
    else:
        rate = _RATE_SHARE * matmul_rate(precision)
        note = "a step does not fit, so its time is that of its operations at half the speed of a matrix product here"
        for number, one in enumerate(forecasts):
            guessed = with_time(one, StepTime(gradients=one.flops_of_step / rate))
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


def _with_snapshot(stage: StageForecast, train: Settings) -> StageForecast:
    """Adds the snapshot of a checkpoint, if the stage is long enough for one."""
    if not is_saved_within(stage.steps, train):
        return stage
    return dataclasses.replace(stage, memory=stage.memory.plus(other=stage.memory.snapshot))


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
