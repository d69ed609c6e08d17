"""Builds models of other libraries on the meta device, and loads weights into them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from sightweave.core.errors import CheckpointError
from sightweave.models.nn.embedding import with_new_rows

Model = TypeVar("Model", bound=nn.Module)


def is_on_meta() -> bool:
    """Whether new tensors are created on the meta device."""
    return torch.empty(0).is_meta


def made(make: Callable[[], Model]) -> Model:
    """The model that `make` returns. On the meta device it has no weights, but keeps its non-persistent buffers.

    This is how runs are loaded: a run's file supplies the weights, but nothing would supply computed tables such as
    sines.
    """
    if not is_on_meta():
        return make()

    with torch.device("cpu"):
        model = make()

    # Shared weights stay shared. The old weights are kept until the end, because the ids of deleted ones could be
    # reused.
    replaced: dict[int, tuple[Tensor, nn.Parameter]] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                fresh = nn.Parameter(torch.empty_like(weight, device="meta"), weight.requires_grad)
                module._parameters[name] = replaced.setdefault(id(weight), (weight, fresh))[1]
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                module._buffers[name] = torch.empty_like(buffer, device="meta")

    return model


def fill(model: nn.Module, found: Mapping[str, Tensor], *, where: str | Path) -> None:
    """Loads weights into a model. Token tables may be longer or shorter than the model's; surplus weights are ignored.

    Raises:
        CheckpointError: weights are missing or have other shapes; the model is then unchanged.
    """
    own = model.state_dict()

    fitted = {}
    wrong = []
    for name, table in own.items():
        if name in found:
            fitted[name] = _fitted(found[name], table)
        if name not in fitted or fitted[name].shape != table.shape:
            wrong.append(name)

    if wrong:
        name = wrong[0]
        shape = tuple(found[name].shape) if name in found else "nothing"
        raise CheckpointError(
            f"{where}: {len(wrong)} weights have the wrong shape; {name} is {shape} in the file, expected "
            f"{tuple(own[name].shape)}."
        )

    model.load_state_dict(fitted)


def _fitted(found: Tensor, own: Tensor) -> Tensor:
    """Adjusts a token table (or bias) to the model's number of rows: missing rows are drawn, surplus rows are removed."""
    if found.shape == own.shape or found.dim() != own.dim():
        return found

    if found.dim() == 2 and found.shape[0] == own.shape[0] == 1:  # a bias of the logits
        return nn.functional.pad(found, (0, own.shape[1] - found.shape[1]))
    if found.shape[1:] != own.shape[1:]:
        return found

    return found[: len(own)] if len(found) >= len(own) else with_new_rows(found, own[len(found) :])
