"""Forecasts one stage from its simulations on one device, and distributes it over several devices if there are any."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from sightweave.programs.forecasting import scaling, timing
from sightweave.programs.forecasting.devices import Device
from sightweave.programs.forecasting.flops import Flops
from sightweave.programs.forecasting.forecast import (
    SIMULATION_ERRORS,
    StageForecast,
    StagePlan,
    fitting_batch_size,
    parts_of,
)
from sightweave.programs.forecasting.memory import HEAP
from sightweave.programs.forecasting.simulation import Simulation
from sightweave.programs.forecasting.timing import StepTime


@dataclass(frozen=True)
class Simulated:
    """The forecast of a stage on one device with the whole state, and the simulations that it is based on."""

    forecast: StageForecast
    typical: Simulation | None
    """Simulation of a microstep of mean size; None if the model cannot run without data."""
    memory_by_size: Sequence[tuple[float, int]] = ()
    """Two batch sizes with their peak memory in bytes; empty if there is too little data for two sizes."""


def simulated(plan: StagePlan, capacity: int, *, count: int = 1) -> Simulated:
    """Forecasts the parameters, operations and memory of a stage; its time is not determined yet.

    Args:
        plan: The stage.
        capacity: Number of bytes that are available on a device.
        count: Number of devices, each of which gets a batch of the plan's size.
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
    """The memory for the stage's batch size, and for a batch that is twice or half as large."""
    size_here, other = plan.stage.batch_size, plan.workload.other_size()
    if other is None:
        return []
    factor, rows = other
    batch = plan.workload.feed.batch_of(rows)
    found = plan.memory(batch, plan.simulate(batch)).total
    return [(size_here, total), (factor * size_here, found)]


def _fitting(plan: StagePlan, sizes: Sequence[tuple[float, int]], total: int, capacity: int) -> int:
    """The largest batch size that fits into memory.

    If there is too little data to estimate it, this is the present batch size, or 0 if that does not fit.
    """
    if plan.is_cpu:
        capacity = int(capacity / HEAP)
    if len(sizes) < 2:
        return plan.stage.batch_size if total <= capacity else 0
    return fitting_batch_size(sizes[0], sizes[1], capacity)


def with_time(stage: StageForecast, step: StepTime) -> StageForecast:
    """A copy of the forecast with the time of a step, and the time of all steps if the stage has a number of steps."""
    seconds = stage.seconds if stage.steps is None else stage.steps * step.total
    return dataclasses.replace(stage, time=step, seconds=seconds)


def spread(plan: StagePlan, found: Simulated, device: Device, count: int) -> StageForecast:
    """The forecast of a stage on `count` devices of the same kind, each of which gets a batch of the plan's size."""
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

    # The time is that of the microsteps' operators, of the device's share of the update, and of the exchange.
    update = timing.Update.of(plan.subject.model, stage)
    own = update.shared(count) if layout == "sharded" else update
    step = timing.computed([found.typical] * stage.gradient_accumulation_steps, device, own)
    exchange = scaling.exchange_seconds(model, layout, device, count)
    if layout == "sharded":  # weights are gathered again in each microstep
        exchange *= stage.gradient_accumulation_steps
    return with_time(forecast, dataclasses.replace(step, communication=exchange))
