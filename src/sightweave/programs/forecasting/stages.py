"""The forecast of one stage: from its simulations on one device, spread over several if there are."""

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


def with_time(stage: StageForecast, step: StepTime) -> StageForecast:
    """The forecast with the time of a step, and that of all steps of a stage that has a number of them."""
    seconds = stage.seconds if stage.steps is None else stage.steps * step.total
    return dataclasses.replace(stage, time=step, seconds=seconds)


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
    return with_time(forecast, dataclasses.replace(step, communication=exchange))
