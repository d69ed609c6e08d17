"""Where to compute, and in which precision: what is there, and what is fast there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch

from sightweave.core.errors import BackendError, did_you_mean

Item = TypeVar("Item")
Result = TypeVar("Result")
PrecisionName = Literal["auto", "fp32", "bf16"]
_MATMUL = 256
"""Side of the timed matrices: where bf16 is emulated, even this takes about 40 ms."""
_SECONDS = 0.01
"""For how long each kind is timed."""
_WORTH = 1.3
"""bf16 must be this much faster: it costs precision, and weights are cast in every step."""


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; ``auto`` takes CUDA, then Apple's, then the CPU.

    Raises:
        BackendError: unknown, or not on this machine.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    kind, _, index = name.partition(":")
    if kind not in there:
        raise BackendError(f"device {name!r} is unknown. {did_you_mean(kind, ['auto', *there])}")
    if not there[kind]:
        usable = ", ".join(one for one, is_there in there.items() if is_there)
        raise BackendError(
            f"device {name!r}: torch finds none on this machine; it finds: {usable}. Use device: auto."
        )
    if index and (not index.isdigit() or (kind == "cuda" and int(index) >= torch.cuda.device_count())):
        raise BackendError(
            f"device {name!r}: there are {torch.cuda.device_count()} CUDA devices, counted from 0."
        )
    return torch.device(name)


@dataclass(frozen=True)
class Precision:
    """In which number format matrices are multiplied; weights stay fp32."""

    name: Literal["fp32", "bf16"]
    device: torch.device
    reason: str
    """Why it was chosen, for the report."""

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """A context in which torch multiplies in this format."""
        if self.name == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def choose_precision(name: PrecisionName, device: torch.device) -> Precision:
    """The precision of that name; ``auto`` times one matmul of each kind, about 50 ms in all.

    bf16 is twice as fast as fp32 on some CPUs and a hundred times slower on others, so only a trial tells. Keep the
    result: a second call times again.

    Raises:
        BackendError: unknown name.
    """
    if name in ("fp32", "bf16"):
        return Precision(name, device, "asked for")
    if name != "auto":
        raise BackendError(f"precision {name!r} is unknown. {did_you_mean(name, ['auto', 'fp32', 'bf16'])}")
    if device.type == "mps":
        return Precision("fp32", device, "not timed on this device")
    fp32 = _seconds_per_matmul(torch.float32, device)
    bf16 = _seconds_per_matmul(torch.bfloat16, device)
    gain = fp32 / bf16
    reason = f"a bf16 matmul has {gain:.2f} x the speed of an fp32 one here; {_WORTH} x is worth it"
    return Precision("bf16" if gain >= _WORTH else "fp32", device, reason)


def _seconds_per_matmul(dtype: torch.dtype, device: torch.device) -> float:
    """Best of several calls; the first prepares kernels, and if it is very slow it stays the only one."""
    side = _MATMUL if device.type == "cpu" else 8 * _MATMUL
    left, right = (
        torch.ones(side, side, dtype=dtype, device=device),
        torch.ones(side, side, dtype=dtype, device=device),
    )
    best, began, calls = float("inf"), time.perf_counter(), 0
    while True:
        start = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        end = time.perf_counter()
        best, calls = min(best, end - start), calls + 1
        if end - began > (_SECONDS if calls >= 3 else 3 * _SECONDS):
            return best


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(threads: int | None = None) -> int:
    """Lets torch use that many threads, by default one for each core; returns the number.

    Raises:
        BackendError: less than one.
    """
    threads = num_cores() if threads is None else threads
    if threads < 1:
        raise BackendError(f"threads must be 1 or more (got {threads}).")
    torch.set_num_threads(threads)
    return threads


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """What `work` makes of each item, in order; on a CPU several at once, each on a core of its own.

    Two threads that share every small multiplication gain a sixth; two that have work of their own gain a half
    (measured on two cores with a model of a million parameters). Elsewhere, or with one item: one after another.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or min(threads, len(items)) < 2:
        yield from map(work, items)
        return

    def alone(item: Item) -> Result:
        torch.set_num_threads(1)
        return work(item)

    try:
        with ThreadPoolExecutor(min(threads, len(items)), thread_name_prefix="side") as pool:
            yield from pool.map(alone, items)
    finally:
        torch.set_num_threads(threads)


def processor_name(device: torch.device | None = None) -> str:
    """What the processor calls itself, for reports."""
    if device is not None and device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def keep_freed_memory() -> bool:
    """Lets the C library keep what is freed instead of handing it back to the system; True where that is known to work.

    Without it, each training step on a CPU gives its activations back and gets them anew, page by page: about 30,000
    page faults and 8 % of the time of a 4 M model's step. The peak of memory stays the same. It holds for the whole
    process, so programs call it, and libraries should not.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library other than glibc
        return False
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # the numbers of malloc.h
    return bool(mallopt(mmap_max, 0) and mallopt(trim_threshold, 2**31 - 1) and mallopt(top_pad, 64 << 20))
