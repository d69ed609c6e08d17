"""The rows of a split tensor that this process holds; tensors that are not split pass through all of these functions.

FSDP2 splits a weight along its first dimension. Tensor parallelism splits some weights along the second one, so that their
"rows" are columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_distributed(tensor: Tensor) -> bool:
    """Whether torch knows that several processes hold a tensor together: each some rows, or all the whole one."""
    return hasattr(tensor, "to_local")  # only torch's DTensor has it


def split_dim(tensor: Tensor) -> int | None:
    """The dimension along which a tensor is split over processes; None if each has the whole one."""
    (placement,) = getattr(tensor, "placements", (None,))
    return placement.dim if placement is not None and placement.is_shard() else None


def is_sharded(tensor: Tensor) -> bool:
    """Whether each process holds only some rows of a tensor."""
    return split_dim(tensor) is not None


def own(tensor: Tensor) -> Tensor:
    """The rows that this process holds, in the same memory."""
    if not is_distributed(tensor):
        return tensor
    with torch.no_grad():
        found: Tensor = tensor.to_local()  # type: ignore[attr-defined]  # a DTensor
    return found


def own_rows(whole: Tensor, like: Tensor) -> Tensor:
    """The rows of a whole tensor that this process needs: if `like` is sharded, its own ones, otherwise all."""
    dim = split_dim(like)
    if dim is None or not whole.ndim:
        return whole
    mesh: Any = like.device_mesh  # type: ignore[attr-defined]  # a DTensor
    count = whole.shape[dim]
    share = -(-count // mesh.size())
    start = min(mesh.get_local_rank() * share, count)
    return whole.narrow(dim, start, min(share, count - start))
