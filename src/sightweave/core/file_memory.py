"""Builds a model whose weights are in files instead of memory, for models that no process can hold.

The operating system reads pages of the files when they are used, and writes them back when it needs their memory.
Initialization is unchanged: it draws the same numbers in the same order, so the weights have the same bits.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

_LEAST_BYTES = 1 << 20
"""Smaller weights stay in memory, since each file takes at least a page and a system call."""


@contextlib.contextmanager
def weights_in_files(folder: Path, *, least: int = _LEAST_BYTES) -> Iterator[None]:
    """A context in which the parameters that modules create on the CPU are in files.

    The files have no names, so the operating system removes them when the model is gone, or the process.

    Args:
        folder: Existing folder on the disk to use; a folder in memory, as ``/tmp`` is on some systems, would gain nothing.
        least: Parameters with fewer bytes stay in memory.
    """
    moved: dict[int, nn.Parameter] = {}

    def move(_module: nn.Module, _name: str, parameter: Any) -> nn.Parameter | None:
        # A parameter that a second module shares is moved once.
        if type(parameter) is not nn.Parameter or id(parameter) in moved:
            return None
        if parameter.device.type != "cpu" or parameter.nbytes < least:
            return None
        found = _in_file(folder, parameter)
        moved[id(found)] = found
        return found

    # Torch uses the result of a hook, but does not declare it.
    handle = register_module_parameter_registration_hook(move)  # type: ignore[arg-type]  # see above
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def _in_file(folder: Path, parameter: nn.Parameter) -> nn.Parameter:
    """A copy of a parameter in a file without a name."""
    handle, name = tempfile.mkstemp(prefix=".weights-", dir=folder)
    os.close(handle)
    try:
        flat = torch.from_file(name, shared=True, size=parameter.numel(), dtype=parameter.dtype)
    finally:
        with contextlib.suppress(OSError):  # some systems keep the file while it is in use
            Path(name).unlink()
    found = flat.view(parameter.shape)
    found.copy_(parameter)
    return nn.Parameter(found, requires_grad=parameter.requires_grad)
