"""Computes the memory of each of several devices, and the data that they exchange in a step.

There are two layouts. *Replicated* (DDP, arXiv:2006.15704): each device holds the whole model. Gradients are summed in
a ring, in which each device sends almost twice the size of the gradients. *Sharded* (ZeRO stage 3, arXiv:1910.02054;
FSDP2): weights, gradients and optimizer state are divided among the devices. The weights are gathered in bf16 twice,
for the forward and the backward pass, and the gradients are scattered in fp32. Communication is assumed to overlap
completely with the passes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from torch import nn

from sightweave.models.nn.block import Block
from sightweave.programs.forecasting.devices import Device
from sightweave.programs.forecasting.memory import Memory
from sightweave.programs.forecasting.timing import StepTime

Layout = Literal["one device", "replicated", "sharded"]
_GATHERS = 2
_BYTES_GATHERED, _BYTES = 2, 4
"""Bytes of a weight that is gathered, and of a weight that is stored."""


@dataclass(frozen=True, slots=True)
class Model:
    """The sizes that determine how much devices exchange, in bytes of fp32 weights."""

    weights: int
    trained: int
    """Size of the weights that have gradients."""
    largest_unit: int
    """Size of the largest block, or of all weights outside of blocks if that is larger; a device gathers this unit at
    once."""

    @classmethod
    def of(cls, model: nn.Module) -> Model:
        """Measures a model whose trained parameters have been chosen."""
        weights = sum(one.nbytes for one in model.parameters())
        trained = sum(one.nbytes for one in model.parameters() if one.requires_grad)
        blocks = [
            sum(p.nbytes for p in one.parameters()) for one in model.modules() if isinstance(one, Block)
        ]
        outside = max(0, weights - sum(blocks))
        return cls(weights, trained, max([outside, *blocks]))


def per_device(memory: Memory, model: Model, layout: Layout, count: int) -> Memory:
    """The memory of each of several devices.

    Args:
        memory: Memory of a single device with the whole model, for its share of the batch.
        model: Sizes of the model.
        layout: Layout of the state.
        count: Number of devices.
    """
    if layout == "replicated":
        return memory.plus(other=_bucket(model))
    if layout == "one device":
        return memory

    # Two units are complete at the same time, the current and the next one, and so are the gradients of one unit.
    whole = 2 * model.largest_unit * _BYTES_GATHERED // _BYTES + model.largest_unit
    return dataclasses.replace(
        memory,
        weights=-(-memory.weights // count),
        gradients=-(-memory.gradients // count),
        optimizer=-(-memory.optimizer // count),
        other=memory.other + whole,
    )


def _bucket(model: Model) -> int:
    """Size in bytes of the buckets in which gradients are summed, which equals the size of the gradients."""
    return model.trained


def exchange_seconds(model: Model, layout: Layout, device: Device, count: int) -> float:
    """Time in seconds for which a device exchanges weights and gradients in a step."""
    if layout == "one device" or count < 2:
        return 0.0
    others = (count - 1) / count
    if layout == "replicated":
        moved = 2 * model.trained * others
    else:
        gathered = _GATHERS * model.weights * _BYTES_GATHERED / _BYTES
        moved = (gathered + model.trained) * others
    return moved / device.link(count)


def choose(memory: Memory, model: Model, device: Device, count: int) -> Layout:
    """Chooses the replicated layout if the whole model fits on each device, otherwise the sharded layout."""
    if count == 1:
        return "one device"
    fits = per_device(memory, model, "replicated", count).total <= device.usable_bytes
    return "replicated" if fits else "sharded"


def is_bound_by_exchange(time: StepTime) -> bool:
    """Whether the exchange between devices takes longer than the passes."""
    return time.communication > time.gradients
