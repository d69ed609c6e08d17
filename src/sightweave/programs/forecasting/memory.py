"""Computes the memory of a training step by kind: weights, gradients, optimizer state, activations, and everything else."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sightweave.core.batch import Batch
from sightweave.models.adapters import quantization
from sightweave.models.parts import PartName, named_parts
from sightweave.models.vlm import VLM
from sightweave.programs.forecasting.simulation import Simulation
from sightweave.programs.training.optimizers import WIDE, hidden_matrices
from sightweave.programs.training.settings import Stage

_ADAMW_VALUES, _MUON_VALUES = 2, 1
"""Number of values that AdamW (two moments) and Muon (one momentum) store for each weight."""
LIBRARIES = 90 << 20
"""Number of bytes that libraries allocate on a CPU in the first steps, for code, threads and kernels; measured."""
HEAP = 1.5
"""Resident memory on a CPU per byte of tensors. Training keeps freed memory (`core.device.keep_freed_memory`), so the
heap also contains gaps between tensors of changing sizes. Measured ratios are 1.3 to 2.2; a forecast
with a trial measures resident memory instead."""
GAPS = 0.6
"""Bytes of gaps that the heap gets after the first pass, per byte of activations; measured values are 0.1 to 1.2."""
_BYTES_PER_WEIGHT = {"int8": 1.0, "nf4": 0.5}
_SCALE_BLOCK = 64
"""Number of nf4 weights with a common scale; int8 has one scale per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Peak memory of a step in bytes, by kind."""

    weights: int
    """Parameters of all parts, whether trained or frozen."""
    gradients: int
    """Gradients of the trained parameters."""
    optimizer: int
    """State of the optimizer."""
    activations: int
    """Additional memory at the peak: activations for the backward pass, and temporary tensors."""
    other: int
    """Buffers, averages of weights, batches that wait to be used, and cached features; on a CPU also a snapshot that is
    being saved, the memory of libraries, and gaps in the heap."""

    @property
    def total(self) -> int:
        """Total number of bytes at the peak."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.other

    @property
    def certain(self) -> int:
        """Number of bytes that every step needs, regardless of the batch: weights, gradients and optimizer state."""
        return self.weights + self.gradients + self.optimizer

    def plus(self, *, activations: int = 0, other: int = 0) -> Memory:
        """A copy with these numbers of bytes added to `activations` and `other`."""
        return dataclasses.replace(self, activations=self.activations + activations, other=self.other + other)

    def resident(self, total: int | None = None) -> Memory:
        """A copy for a CPU, where the process occupies more memory than its tensors.

        Args:
            total: Resident bytes that were measured in a trial; None estimates them.
        """
        if total is None:
            total = int(LIBRARIES + HEAP * self.total)
        return self.plus(other=max(0, total - self.total))

    @property
    def snapshot(self) -> int:
        """Size in bytes of the copies of weights and optimizer state that are saved while training continues."""
        return self.weights + self.optimizer

    def to_json(self) -> dict[str, int]:
        """The bytes by kind, and their total."""
        return {**dataclasses.asdict(self), "total": self.total}


def of_state(model: VLM, stage: Stage, quantized: Mapping[PartName, quantization.Form]) -> Memory:
    """The part of the memory that does not depend on the batch.

    Args:
        model: The model as the stage trains it, with its adapters; it may be on the meta device.
        stage: Settings of the stage.
        quantized: Number format of each quantized part. On the meta device, its layers still have ordinary weights.
    """
    trained = [one for one in model.parameters() if one.requires_grad]
    gradients = sum(one.nbytes for one in trained)
    averages = gradients if stage.ema else 0
    return Memory(
        weights=weight_bytes(model, quantized),
        gradients=gradients,
        optimizer=optimizer_bytes(model, stage),
        activations=0,
        other=sum(one.nbytes for one in model.buffers()) + averages,
    )


def weight_bytes(model: VLM, quantized: Mapping[PartName, quantization.Form]) -> int:
    """Size of all parameters in bytes; quantized layers count with the sizes of their codes and scales."""
    total = sum(one.nbytes for one in model.parameters())
    for part, form in quantized.items():
        for layer in _quantized_layers(named_parts(model)[part]):
            count = layer.weight.numel()
            scales = layer.out_features if form == "int8" else -(-count // _SCALE_BLOCK)
            total += int(_BYTES_PER_WEIGHT[form] * count) + 4 * scales - layer.weight.nbytes
    return total


def _quantized_layers(part: nn.Module) -> Iterator[nn.Linear]:
    """Yields the layers that `quantization.quantize` replaces: all linear layers except the head and adapters."""
    for name, layer in part.named_modules():
        is_head = name.rpartition(".")[2] == quantization.HEAD
        if type(layer) is nn.Linear and not layer.weight.requires_grad and name and not is_head:
            yield layer


def optimizer_bytes(model: nn.Module, stage: Stage) -> int:
    """Size in bytes of the state that the stage's optimizer stores."""
    matrices = {id(one) for one in _muon_matrices(model, stage)}
    total = 0
    for parameter in model.parameters():
        if parameter.requires_grad:
            values = _MUON_VALUES if id(parameter) in matrices else _ADAMW_VALUES
            counter = 0 if id(parameter) in matrices else 4  # the number of steps
            total += values * parameter.nbytes + counter
    return total


def _muon_matrices(model: nn.Module, stage: Stage) -> list[Tensor]:
    return list(hidden_matrices(model).values()) if stage.optimizer.name == "muon" else []


def update_bytes(model: nn.Module, stage: Stage, *, is_cpu: bool) -> int:
    """Maximum number of bytes that an update needs temporarily, in addition to gradients and optimizer state.

    AdamW's fused kernel needs none. Muon stacks all matrices of the same shape. It stores the stack, its look-ahead,
    and two generations of the orthogonalised stack (in fp32 on a CPU, in bf16 elsewhere). For wide matrices on a CPU, it
    stores up to five small products instead.
    """
    alike: dict[tuple[int, ...], int] = defaultdict(int)
    for matrix in _muon_matrices(model, stage):
        alike[tuple(matrix.shape)] += 1

    most = 0
    for shape, count in alike.items():
        rows = shape[0]
        columns = 1
        for size in shape[1:]:
            columns *= size
        stack, gram = count * rows * columns, count * min(rows, columns) ** 2
        narrow = 4 if is_cpu else 2
        is_wide = max(rows, columns) > WIDE * min(rows, columns)
        inside = max(stack + 5 * gram, 2 * stack + 3 * gram) if is_wide and is_cpu else 2 * stack + 2 * gram
        most = max(most, 2 * 4 * stack + narrow * inside)
    return most


def batch_bytes(batch: Batch) -> int:
    """Size in bytes of all tensors of a batch."""
    return sum(one.nbytes for one in _tensors_of(batch))


def _tensors_of(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _tensors_of(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors_of(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors_of(item)


def at_peak(
    state: Memory,
    simulation: Simulation,
    *,
    batch: int,
    microsteps: int = 1,
    at_once: int = 1,
    update: int = 0,
) -> Memory:
    """The peak memory of a complete update.

    Args:
        state: Memory that does not depend on the batch.
        simulation: The passes of the largest microstep; if microsteps follow one another, those of the second
            microstep.
        batch: Size of a microstep's batch in bytes.
        microsteps: Number of microsteps in an update.
        at_once: Number of microsteps that are computed at the same time, each with gradients of its own, as on a CPU.
        update: Number of bytes that the optimizer needs temporarily.
    """
    passes = at_once * simulation.peak_bytes
    if microsteps > at_once:  # the sum of earlier gradients is there, too
        passes += state.gradients
    most = max(passes, state.gradients + update)

    # The feed prepares one update while another is computed.
    waiting = (2 * microsteps + 1) * batch
    return state.plus(activations=max(0, most - state.gradients), other=waiting)
