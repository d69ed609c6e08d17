"""Several devices: what each of them holds, and what they exchange in a step.

Two layouts. *Replicated* (DDP, arXiv:2006.15704): each device holds the whole model, and a ring sums the gradients, in which
each device sends almost twice their bytes. *Sharded* (ZeRO stage 3, arXiv:1910.02054; FSDP2): weights, gradients and
optimizer state are divided; each pass gathers the weights in bf16 twice, forward and backward, and scatters the gradients
in fp32. Communication is assumed to overlap with the passes completely.
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
"""Bytes of a weight that is gathered, and of one that is kept."""


@dataclass(frozen=True, slots=True)
class Model:
    """The sizes that decide what devices exchange, in bytes of fp32 weights."""

    weights: int
    trained: int
    """Weights that have gradients."""
    largest_unit: int
    """Weights of the largest block, or of what lies outside of the blocks, which a device gathers at once."""

    @classmethod
    def of(cls, model: nn.Module) -> Model:
        """The sizes of a model with its trained parameters chosen."""
        weights = sum(one.nbytes for one in model.parameters())
        trained = sum(one.nbytes for one in model.parameters() if one.requires_grad)
        blocks = [
            sum(p.nbytes for p in one.parameters()) for one in model.modules() if isinstance(one, Block)
        ]
        outside = max(0, weights - sum(blocks))
        return cls(weights, trained, max([outside, *blocks]))


def per_device(memory: Memory, model: Model, layout: Layout, count: int) -> Memory:
    """The memory of one device of several.

    Args:
        memory: That of one device with the whole model, for its share of the batch.
        model: Sizes of the model.
        layout: How the state is laid out.
        count: Number of devices.
    """
    if layout == "replicated":
        return memory.plus(other=_bucket(model))
    if layout == "one device":
        return memory

    # Two units are whole at once: the one that is computed, and the next one on its way; and one unit's gradients.
    whole = 2 * model.largest_unit * _BYTES_GATHERED // _BYTES + model.largest_unit
    return dataclasses.replace(
        memory,
        weights=-(-memory.weights // count),
        gradients=-(-memory.gradients // count),
        optimizer=-(-memory.optimizer // count),
        other=memory.other + whole,
    )


def _bucket(model: Model) -> int:
    """Bytes of the buckets in which gradients are summed: as many as there are gradients."""
    return model.trained


def exchange_seconds(model: Model, layout: Layout, device: Device, count: int) -> float:
    """Seconds in which a device exchanges weights and gradients in a step."""
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
    """Replicated if a whole model fits on each device, otherwise sharded."""
    if count == 1:
        return "one device"
    fits = per_device(memory, model, "replicated", count).total <= device.usable_bytes
    return "replicated" if fits else "sharded"


def is_bound_by_exchange(time: StepTime) -> bool:
    """Whether devices wait for one another longer than they compute."""
    return time.communication > time.gradients
