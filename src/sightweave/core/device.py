"""Where to compute, and in which precision: what is there, and what is fast there."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, TypeVar

import torch

from sightweave.core import remembered
from sightweave.core.cores import default_threads, num_cores
from sightweave.core.errors import BackendError, did_you_mean

Item = TypeVar("Item")
Result = TypeVar("Result")
PrecisionName = Literal["auto", "fp32", "bf16"]
_MATMUL = 256
"""Side of the timed matrices: where bf16 is emulated, even this takes about 40 ms."""
_MOST_PAIRS, _FEWEST_PAIRS, _SECONDS = 60, 7, 1.0
"""Calls of each kind, in turns, and the time after which the fewest are enough."""
_WORTH = 1.3
"""bf16 must be this much faster: it costs precision, and weights are cast in every step."""
_MEMORY = "precision"
"""File of the user's cache folder in which what was measured is kept."""

__all__ = [
    "Precision",
    "PrecisionName",
    "choose_device",
    "choose_precision",
    "keep_freed_memory",
    "limit_threads",
    "num_cores",
    "one_thread",
    "processor_name",
    "set_threads",
    "side_by_side",
]


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
            f"device {name!r}: not available on this machine; available: {usable}. Use device: auto."
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
    """The precision of that name; ``auto`` times matmuls of both kinds, about a second once on a machine.

    bf16 is twice as fast as fp32 on some CPUs and a hundred times slower on others, so only a trial tells. What it found is
    kept in the user's cache folder for this processor and this version of torch, so that runs on one machine do not differ
    by what else it was doing. Where the gain is in doubt, fp32 is taken.

    Raises:
        BackendError: unknown name.
    """
    if name in ("fp32", "bf16"):
        return Precision(name, device, "asked for")
    if name != "auto":
        raise BackendError(f"precision {name!r} is unknown. {did_you_mean(name, ['auto', 'fp32', 'bf16'])}")
    if device.type == "mps":
        return Precision("fp32", device, "not timed on this device")

    # Virtual machines call processors of several generations by one name, so their instructions are named too.
    kind = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else device.type
    key = f"{processor_name(device)}, {kind}, torch {torch.__version__}"
    known = _known_gain(key)
    gain = _gain(*_seconds_per_matmul(device)) if known is None else known
    reason = f"a bf16 matmul is {gain:.2f} x as fast as fp32 here; bf16 is used from {_WORTH} x"
    if known is None:
        remembered.remember(_MEMORY, {key: gain})
    else:
        reason += f"; measured earlier, see {remembered.path(_MEMORY)}"
    return Precision("bf16" if gain >= _WORTH else "fp32", device, reason)


def _known_gain(key: str) -> float | None:
    """What was measured on this machine before; None where nothing was, or it makes no sense."""
    gain = remembered.recall(_MEMORY).get(key)
    if isinstance(gain, bool) or not isinstance(gain, int | float):
        return None
    return float(gain) if 0 < gain < float("inf") else None


def _gain(fp32: Sequence[float], bf16: Sequence[float]) -> float:
    """The speed of bf16 over fp32 that the times leave no doubt of: the least of three estimates.

    A busy machine makes some calls slow, and never one fast. So the best calls are compared, the median ones, and the
    median of the calls that followed one another.
    """
    pairs = [slow / fast for slow, fast in zip(fp32, bf16, strict=True)]
    return min(min(fp32) / min(bf16), median(fp32) / median(bf16), median(pairs))


def _seconds_per_matmul(device: torch.device) -> tuple[list[float], list[float]]:
    """Seconds of matmuls in fp32 and in bf16, in turns.

    They run on one thread: two that wait for each other on a busy machine would be timed for their waiting.
    """
    side = _MATMUL if device.type == "cpu" else 8 * _MATMUL
    matrices = [torch.ones(side, side, dtype=one, device=device) for one in (torch.float32, torch.bfloat16)]
    times: tuple[list[float], list[float]] = ([], [])
    with one_thread():
        for matrix in matrices:  # the first calls prepare kernels
            _matmul(matrix)
        began = time.perf_counter()
        while len(times[0]) < _MOST_PAIRS:
            for matrix, found in zip(matrices, times, strict=True):
                found.append(_matmul(matrix))
            if len(times[0]) >= _FEWEST_PAIRS and time.perf_counter() - began > _SECONDS:
                break
    return times


def _matmul(matrix: torch.Tensor) -> float:
    """Seconds of one product."""
    start = time.perf_counter()
    torch.mm(matrix, matrix)
    if matrix.device.type == "cuda":
        torch.cuda.synchronize(matrix.device)
    return time.perf_counter() - start


def set_threads(threads: int | None = None) -> int:
    """Lets torch use that many threads and returns the number.

    By default it is one for each core that this process may use, as its CPU affinity and the quota of its container say, or
    what ``OMP_NUM_THREADS`` says if that is less.

    Raises:
        BackendError: less than one.
    """
    threads = default_threads() if threads is None else threads
    if threads < 1:
        raise BackendError(f"threads must be 1 or more (got {threads}).")
    torch.set_num_threads(threads)
    return threads


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch use one thread for a while, for small work that several would only wait for each other in."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def limit_threads() -> int:
    """Takes threads away from torch that this process has no cores for, as in a container; returns how many it has."""
    allowed = default_threads()
    if torch.get_num_threads() > allowed:
        torch.set_num_threads(allowed)
    return torch.get_num_threads()


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
    page faults and 8 % of the time of a 4 M model's step. Small pieces are joined with their neighbours at once: left
    apart, they would keep large ones from being used again. It holds for the whole process, so programs call it, and
    libraries should not.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library other than glibc
        return False
    # The numbers of malloc.h.
    largest_fast, trim_threshold, top_pad, mmap_max = 1, -1, -2, -4
    return bool(
        mallopt(mmap_max, 0)
        and mallopt(trim_threshold, 2**31 - 1)
        and mallopt(top_pad, 64 << 20)
        and mallopt(largest_fast, 0)
    )
