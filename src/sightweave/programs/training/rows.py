"""The rows of a sharded tensor that this process holds; tensors that are not sharded pass through all of these functions."""

from __future__ import annotations

import torch
from torch import Tensor

from sightweave.programs.training.world import World


def is_sharded(tensor: Tensor) -> bool:
    """Whether each process holds only some rows of a tensor, as with FSDP2."""
    return hasattr(tensor, "to_local")  # only torch's DTensor has it


def own(tensor: Tensor) -> Tensor:
    """The rows that this process holds, in the same memory."""
    if not is_sharded(tensor):
        return tensor
    with torch.no_grad():
        found: Tensor = tensor.to_local()  # type: ignore[attr-defined]  # a DTensor
    return found


def own_rows(whole: Tensor, like: Tensor, world: World) -> Tensor:
    """The rows of a whole tensor that this process needs: if `like` is sharded, its own ones, otherwise all."""
    return whole[world.rows(len(whole))] if is_sharded(like) and whole.ndim else whole
