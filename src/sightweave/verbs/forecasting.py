"""What a training run will cost, before it starts; and after it, what was predicted next to what was measured."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sightweave.core import memory as system_memory
from sightweave.core.device import (
    Precision,
    choose_device,
    choose_precision,
    keep_freed_memory,
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
)
from sightweave.programs.forecasting.timing import StepTime
from sightweave.programs.forecasting.workload import Workload
from sightweave.programs.training import durations, trial
from sightweave.programs.training.feature_cache import FeatureCache
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.work import prepare
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
    with_data,
)

_MEMORY_SECONDS = 20.0
"""Time after which no further update is tried to see how far the heap of a CPU grows."""
_RATE_SHARE = 0.5
"""Share of the speed of a large matrix product that a step is assumed to reach where it cannot be tried."""


@dataclass(frozen=True)
class _Planned:
    """A recipe with everything that a forecast reads of it; no weights."""

    recipe: Recipe
    sources: list[Dataset]
    processor: Processor
    workloads: list[Workload]
    build: Callable[[], VLM]
    """Builds the model on the meta device."""

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

    Memory and operations come from a step of the real model and the real data on the meta device. Time comes from a short trial on
    this machine, or, with `device`, from the vendor's figures of that device.

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
    planned = _plan(read_recipe(recipe, settings), records, count=count)
    if entry is None:
        return _here(planned, price, now)
    return _elsewhere(planned, entry, count, price)


def _plan(asked: Recipe, records: list[Any] | None, *, count: int = 1) -> _Planned:
    """Opens the data and builds everything but weights."""
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
    return _Planned(recipe, sources, processor, workloads, build)


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


def _here(planned: _Planned, price: float | None, now: Callable[[], float]) -> Forecast:
    """The forecast for this machine, by a trial of each stage."""
    train = planned.train
    keep_freed_memory()
    device = choose_device(train.device)
    threads = set_threads(train.num_threads)
    precision = choose_precision(train.precision, device)
    capacity = system_memory.free_bytes(device)

    # Memory first: what does not fit is not tried.
    plans = []
    for workload in planned.workloads:
        plans.append(_stage_plan(planned, workload, precision.name, device.type, threads))
    forecasts = [_stage(plan, capacity) for plan in plans]
    if all(one.fits for one in forecasts):
        tried = _trials(planned, precision, threads, now)
        forecasts = [_with_trial(*pair) for pair in zip(forecasts, tried, strict=True)]
    else:
        rate = _RATE_SHARE * _matmul_rate(precision)
        note = "a step does not fit, so its time is that of its operations at half the speed of a matrix product here"
        for number, one in enumerate(forecasts):
            guessed = _with_time(one, StepTime(gradients=one.flops_of_step / rate))
            forecasts[number] = dataclasses.replace(guessed, notes=[*one.notes, note])

    from sightweave.core.device import processor_name

    return Forecast(
        stages=forecasts,
        device=f"this machine ({processor_name(device)}, {device.type})",
        precision=precision.name,
        price=price,
        notes=["energy is unknown for this machine; name a device of the table for it"],
    )


def _stage_plan(
    planned: _Planned, workload: Workload, precision: str, device: str, threads: int
) -> StagePlan:
    return StagePlan.of(
        planned.build,
        workload,
        precision=precision,
        quantized=planned.train.quantize,
        is_cpu=device == "cpu",
        threads=threads,
    )


def _stage(plan: StagePlan, capacity: int, *, count: int = 1) -> StageForecast:
    """Parameters, operations and memory of a stage on one device, with the whole state."""
    workload, stage, notes = plan.workload, plan.stage, []
    largest = workload.batch(workload.largest)
    typical = workload.typical(1)[0]
    state = plan.state()
    try:
        simulation = plan.simulate(largest)
        memory = plan.memory(largest, simulation)
        flops = plan.simulate(workload.batch(typical)).flops
        fitting = _fitting(plan, memory.total, capacity)
    except SIMULATION_ERRORS as error:
        memory, fitting = state, stage.batch_size
        flops = Flops()
        notes.append(f"activations and operations are unknown: the model cannot run without data ({error})")

    each = max(1, typical.samples)
    per_step = stage.gradient_accumulation_steps * count
    return StageForecast(
        name=stage.name,
        steps=stage.steps,
        parts=parts_of(plan.subject.model),
        flops=Flops(flops.forward // each, flops.backward // each),
        samples=workload.samples * per_step,
        tokens=workload.tokens * per_step,
        memory=memory,
        capacity=capacity,
        time=StepTime(gradients=0.0),
        seconds=60 * (stage.minutes or 0.0),
        batch_size=stage.batch_size * count,
        fitting_batch_size=fitting * count,
        notes=notes,
    )


def _fitting(plan: StagePlan, total: int, capacity: int) -> int:
    """The largest batch size that fits, by the memory of this one and of one twice or half as large."""
    size, other = plan.stage.batch_size, plan.workload.other_size()
    if other is None:
        return size if total <= capacity else 0
    factor, rows = other
    batch = plan.workload.feed.batch_of(rows)
    found = plan.memory(batch, plan.simulate(batch)).total
    return fitting_batch_size((size, total), (factor * size, found), capacity)


def _with_time(stage: StageForecast, step: StepTime) -> StageForecast:
    seconds = stage.seconds if stage.steps is None else stage.steps * step.total
    return dataclasses.replace(stage, time=step, seconds=seconds)


@dataclass(frozen=True)
class _Tried:
    """What the trial of one stage found."""

    gradients: dict[int, float]
    """Seconds of the gradients by number of threads."""
    step: StepTime
    resident: int | None
    """Bytes of resident memory that the stage added to the process; None where it is not the device's."""


def _with_trial(stage: StageForecast, tried: _Tried) -> StageForecast:
    found = stage if tried.resident is None else dataclasses.replace(
        stage, memory=stage.memory.resident(tried.resident)
    )  # fmt: skip
    return _with_time(found, tried.step)


def _trials(planned: _Planned, precision: Precision, threads: int, now: Callable[[], float]) -> list[_Tried]:
    """Tries each stage with a model of its own, which is thrown away."""
    train, device = planned.train, precision.device
    before = system_memory.resident_bytes() if device.type == "cpu" else None
    run = composed(planned.recipe, planned.sources, torch.device("cpu") if train.quantize else device)
    model = run.model
    for part, form in train.quantize.items():
        quantization.quantize(named_parts(model)[part], form, where=part)
    model.to(device)

    may_choose = train.num_threads is None and device.type == "cpu"
    numbers = trial.counts(threads) if may_choose else [threads]
    found = []
    for workload in planned.workloads:
        found.append(_try_stage(model, workload, precision, numbers, now, before))
    trials = trial.Trials.of(train.stages, [one.gradients for one in found], otherwise=threads)
    torch.set_num_threads(trials.threads)

    chosen = []
    for one in found:
        step = dataclasses.replace(one.step, gradients=one.gradients[trials.threads])
        chosen.append(dataclasses.replace(one, step=step))
    return chosen


def _try_stage(
    model: VLM,
    workload: Workload,
    precision: Precision,
    numbers: Sequence[int],
    now: Callable[[], float],
    before: int | None,
) -> _Tried:
    """Times the gradients with each number of threads and the rest of a step, and reads the memory of real updates."""
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
    resident = None
    if before is not None:
        lora.merge(model)  # `resident_after` adds adapters of its own
        after = timing.resident_after(model, workload, precision, seconds=_MEMORY_SECONDS, now=now)
        resident = None if after is None else after - before
    lora.merge(model)
    return _Tried(seconds, rest, resident)


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


def _elsewhere(planned: _Planned, device: Device, count: int, price: float | None) -> Forecast:
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
        stages.append(stage_elsewhere(plan, device, count))
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


def stage_elsewhere(plan: StagePlan, device: Device, count: int) -> StageForecast:
    """The forecast of a stage on `count` devices of the table, each with its share of the batch."""
    found = _stage(plan, device.usable_bytes, count=count)
    model = scaling.Model.of(plan.subject.model)
    layout = scaling.choose(found.memory, model, device, count)
    memory = scaling.per_device(found.memory, model, layout, count)

    # Time: operators of the microsteps, the optimizer's share, and what is exchanged.
    stage = plan.stage
    try:
        simulation = plan.simulate(plan.workload.batch(plan.workload.typical(1)[0]))
    except SIMULATION_ERRORS:
        return dataclasses.replace(found, memory=memory, layout=layout)
    update = timing.Update.of(plan.subject.model, stage)
    own = update.shared(count) if layout == "sharded" else update
    step = timing.computed([simulation] * stage.gradient_accumulation_steps, device, own)
    exchange = scaling.exchange_seconds(model, layout, device, count)
    if layout == "sharded":  # weights are gathered again in each microstep
        exchange *= stage.gradient_accumulation_steps
    step = dataclasses.replace(step, communication=exchange)

    # Sharding leaves more room for the batch.
    saved = found.memory.total - memory.total
    fitting = _fitting(plan, found.memory.total, device.usable_bytes + saved) * count
    done = dataclasses.replace(found, memory=memory, layout=layout, fitting_batch_size=fitting)
    return _with_time(done, step)
