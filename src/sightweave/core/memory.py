"""Measures the memory that this process can still allocate, and recognises out-of-memory errors."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from sightweave.core.cores import control_groups

_ROOT = Path("/")
_UNKNOWN = 2 << 30
"""Bytes assumed to be free if no limit can be read."""
_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "bad_alloc",
)
"""Phrases by which error messages of torch and its libraries report a failed allocation."""
_ONEDNN = "could not create a "
"""Start of the error message with which oneDNN reports a failed allocation."""


def free_bytes(device: torch.device, root: Path = _ROOT) -> int:
    """Number of bytes that this process can still allocate on a device.

    On a CPU, this is the minimum of the system's available memory, the memory left in the process's control groups
    (``man 7 cgroups``), and the address space left by ``ulimit -v``; 2 GiB if none of them can be read. On CUDA, it is the
    memory that the driver reports as free plus the memory that torch has reserved but does not use.

    Args:
        device: The device, a CPU or a CUDA device.
        root: Folder that contains ``proc`` and ``sys``; tests pass another one.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + unused)

    limits = [*_of_system(root), *_of_groups(root), *_of_process(root)]
    return max(0, min(limits, default=_UNKNOWN))


def total_bytes(device: torch.device, root: Path = _ROOT) -> int | None:
    """Total memory of a device in bytes, whether used or free; None if unknown.

    On a CPU, this is the minimum of the system's memory with its swap space, and the limits of the process's control groups.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])

    fields = _fields(root / "proc" / "meminfo")
    limits: list[int | None] = []
    if "MemTotal:" in fields:
        limits.append((fields["MemTotal:"] + fields.get("SwapTotal:", 0)) * 1024)
    for folder in control_groups(root, controller=""):
        limits.append(_number(folder / "memory.max"))
    for folder in control_groups(root, controller="memory", mount="memory"):
        limits.append(_number(folder / "memory.limit_in_bytes"))

    known = [limit for limit in limits if limit is not None]
    return min(known, default=None)


def resident_bytes(root: Path = _ROOT) -> int | None:
    """Physical memory that this process uses now, in bytes; None if the system does not report it."""
    value = _fields(root / "proc" / "self" / "status").get("VmRSS:")
    return None if value is None else value * 1024


def peak_bytes(device: torch.device, root: Path = _ROOT) -> int:
    """Peak memory of this process so far in bytes; 0 if the system does not report it.

    On CUDA, this is the memory that torch has reserved on the device; otherwise, it is the process's physical memory.

    Args:
        device: Device of the tensors.
        root: Folder that contains ``proc``; tests pass another one.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))

    # On Linux, getrusage would also count the memory of the process that started this one.
    value = _fields(root / "proc" / "self" / "status").get("VmHWM:")
    if value is not None:
        return value * 1024
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error reports a failed allocation; on a CPU, torch raises a plain RuntimeError for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True

    text = str(error)
    has_sign = text.startswith(_ONEDNN) or any(sign in text.lower() for sign in _SIGNS)
    return isinstance(error, RuntimeError) and has_sign


def release(device: torch.device) -> None:
    """Collects garbage and empties torch's cache of a device, to free the memory of a failed attempt."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _of_system(root: Path) -> Iterator[int]:
    """Yields the system's available memory in bytes (``MemAvailable``): free pages and reclaimable caches."""
    value = _fields(root / "proc" / "meminfo").get("MemAvailable:")
    if value is not None:
        yield value * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """Yields the bytes left in each control group of this process; page cache counts as free, since it can be dropped."""
    for folder in control_groups(root, controller=""):
        yield from _left(folder, "memory.max", "memory.current", "inactive_file")
    for folder in control_groups(root, controller="memory", mount="memory"):
        yield from _left(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _left(folder: Path, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    most, used = _number(folder / limit), _number(folder / usage)
    if most is not None and used is not None:
        yield most - used + _fields(folder / "memory.stat").get(reclaimable, 0)


def _of_process(root: Path) -> Iterator[int]:
    """Yields the bytes of address space left by this process's limit (``ulimit -v``), if it has one."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _fields(root / "proc" / "self" / "status").get("VmSize:")
    if most != resource.RLIM_INFINITY and used is not None:
        yield most - used * 1024


def _number(path: Path) -> int | None:
    """The number in a file; None if the file is missing or holds anything else, such as ``max``."""
    text = _text(path).strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _fields(path: Path) -> dict[str, int]:
    """Reads a file with a name and a number on each line; returns the numbers by name."""
    found = {}
    for line in _text(path).splitlines():
        name, *rest = line.split()[:2] or [""]
        if rest and rest[0].isascii() and rest[0].isdigit():
            found[name] = int(rest[0])
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux, or not readable
        return ""
