"""A pretrained encoder's position table equals the one in its source folder, interpolated if the grid differs."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from sightweave.models.keymaps import _base as keymaps
from sightweave.programs.checks._base import Finding, Subject, largest

_MOST = 1e-6
NEEDED = f"equal to the folder's table within {_MOST:g}"


def check(subject: Subject) -> Finding:
    """Compares the encoder's table with the folder's, resized to the encoder's grid."""
    if "image" not in subject.model.modalities:
        return Finding(state="skip", measured="the model reads no images")
    folder, table = subject.pretrained.get("encoder"), getattr(subject.model.encoder, "place_table", None)
    if folder is None or table is None:
        return Finding(state="skip", measured="no position table from a folder")
    if subject.is_trained:
        return Finding(state="skip", measured="training may have changed it")
    _, tensors, _ = keymaps.read_tensors(folder, "encoder")
    there = _interpolated(tensors["place_table"].float(), len(table))
    difference = largest(table.detach().cpu(), there)
    return Finding(
        state="pass" if difference <= _MOST else "fail",
        measured=f"{len(table)} positions, difference {difference:.2g}",
        needed=NEEDED,
    )


def _interpolated(table: Tensor, count: int) -> Tensor:
    """Interpolates a table to this number of positions, without the loader's own function, which is being checked."""
    side, new = math.isqrt(len(table)), math.isqrt(count)
    first = len(table) - side**2  # the position of a class token, if there is one
    grid = table[first:].T.reshape(1, -1, side, side)
    resized = F.interpolate(grid, (new, new), mode="bicubic", align_corners=False)
    return torch.cat([table[:first], resized[0].flatten(1).T])
