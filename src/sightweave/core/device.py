"""Chooses the device, the precision and the number of threads for this machine."""

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
_MATMUL_SIDE = 256
"""Side of the square matrices that are timed on a CPU; where bf16 is emulated, even this size takes about 40 ms."""
_MOST_PAIRS, _FEWEST_PAIRS, _SECONDS = 60, 7, 1.0
"""Maximum and minimum number of timed calls per format, and the seconds after which the minimum is enough."""
_MIN_GAIN = 1.3
"""Speed-up from which bf16 is worth its loss of precision and the cast of the weights in every step."""
_GAIN_FILE = "precision"
"""Name of the file in the user's cache folder that stores the measured speed-up."""

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
    """The torch device with a given name; ``auto`` prefers CUDA, then Apple's GPU (MPS), then the CPU.

    Raises:
        BackendError: The name is unknown, or this machine has no such device.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))

    kind, _, index = name.partition(":")
    if kind not in available:
        raise BackendError(f"device {name!r} is unknown. {did_you_mean(kind, ['auto', *available])}")
    if not available[kind]:
        usable = ", ".join(one for one, is_there in available.items() if is_there)
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
    """Number format of matrix multiplications on a device; the weights stay in fp32."""

    name: Literal["fp32", "bf16"]
    device: torch.device
    reason: str
    """Reason why this precision was chosen, for reports."""

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """A context in which torch multiplies matrices in this format."""
        if self.name == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def choose_precision(name: PrecisionName, device: torch.device) -> Precision:
    """The precision with a given name; ``auto`` chooses between fp32 and bf16 by timing both.

    bf16 is twice as fast as fp32 on some CPUs and a hundred times slower on others, so it has to be measured. This takes
    about a second; the result is stored in the user's cache folder for this processor and version of torch, so that later
    runs on this machine choose the same whatever its load. In doubt, fp32 is chosen.

    Raises:
        BackendError: The name is unknown.
    """
    if name in ("fp32", "bf16"):
        return Precision(name, device, "asked for")
    if name != "auto":
        raise BackendError(f"precision {name!r} is unknown. {did_you_mean(name, ['auto', 'fp32', 'bf16'])}")
    if device.type == "mps":
        return Precision("fp32", device, "not timed on this device")

    # Virtual machines use one name for processors of several generations, so the key includes the instruction set.
    kind = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else device.type
    key = f"{processor_name(device)}, {kind}, torch {torch.__version__}"

    known = _known_gain(key)
    gain = _gain(*_seconds_per_matmul(device)) if known is None else known
    reason = f"a bf16 matmul is {gain:.2f} x as fast as fp32 here; bf16 is used from {_MIN_GAIN} x"

    if known is None:
        remembered.remember(_GAIN_FILE, {key: gain})
    else:
        reason += f"; measured earlier, see {remembered.path(_GAIN_FILE)}"
    return Precision("bf16" if gain >= _MIN_GAIN else "fp32", device, reason)


def _known_gain(key: str) -> float | None:
    """The speed-up of bf16 stored by an earlier measurement; None if there is none or it is not a valid number."""
    gain = remembered.recall(_GAIN_FILE).get(key)
    if isinstance(gain, bool) or not isinstance(gain, int | float):
        return None
    return float(gain) if 0 < gain < float("inf") else None


def _gain(fp32: Sequence[float], bf16: Sequence[float]) -> float:
    """A cautious estimate of the speed-up of bf16 over fp32 from times in seconds: the smallest of three ratios.

    Other load on the machine can slow a call down but never speed it up. The estimates are the ratio of the fastest times,
    the ratio of the median times, and the median ratio of consecutive calls.
    """
    pairs = [slow / fast for slow, fast in zip(fp32, bf16, strict=True)]
    return min(min(fp32) / min(bf16), median(fp32) / median(bf16), median(pairs))


def _seconds_per_matmul(device: torch.device) -> tuple[list[float], list[float]]:
    """Times in seconds of matrix multiplications that alternate between fp32 and bf16.

    They run on one thread, since on a busy machine two threads would mostly wait for each other.
    """
    side = _MATMUL_SIDE if device.type == "cpu" else 8 * _MATMUL_SIDE
    matrices = [torch.ones(side, side, dtype=one, device=device) for one in (torch.float32, torch.bfloat16)]
    times: tuple[list[float], list[float]] = ([], [])

    with one_thread():
        for matrix in matrices:  # the first call prepares kernels
            _matmul(matrix)

        began = time.perf_counter()
        while len(times[0]) < _MOST_PAIRS:
            for matrix, found in zip(matrices, times, strict=True):
                found.append(_matmul(matrix))
            if len(times[0]) >= _FEWEST_PAIRS and time.perf_counter() - began > _SECONDS:
                break

    return times


def _matmul(matrix: torch.Tensor) -> float:
    """Multiplies a matrix by itself and returns the seconds this took."""
    start = time.perf_counter()
    torch.mm(matrix, matrix)
    if matrix.device.type == "cuda":
        torch.cuda.synchronize(matrix.device)
    return time.perf_counter() - start


def set_threads(threads: int | None = None) -> int:
    """Sets the number of threads that torch uses, and returns it.

    Args:
        threads: Number of threads. The default is one per core that this process may use by its CPU affinity and its
            container's quota, or ``OMP_NUM_THREADS`` if that is less.

    Raises:
        BackendError: `threads` is less than 1.
    """
    threads = default_threads() if threads is None else threads
    if threads < 1:
        raise BackendError(f"threads must be 1 or more (got {threads}).")
    torch.set_num_threads(threads)
    return threads


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """A context in which torch uses one thread, for small operations that more threads would slow down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def limit_threads() -> int:
    """Reduces torch's threads to the cores that this process may use, such as in a container; returns the new number."""
    allowed = default_threads()
    if torch.get_num_threads() > allowed:
        torch.set_num_threads(allowed)
    return torch.get_num_threads()


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """Applies `work` to each item and yields the results in order; on a CPU, items run in parallel with one thread each.

    This is faster than sharing each operation among the threads: on two cores and with a model of a million parameters, a
    second thread gains one sixth when it shares small operations, and one half when it works on another item. On other
    devices, or with a single item, the items are processed one after another.
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
    """The model name of the CPU, or of the GPU if a CUDA device is given, for reports."""
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
    """Makes the C library keep freed memory instead of returning it to the system; returns whether this is supported.

    Otherwise each training step on a CPU returns the memory of its activations to the system and gets it back page by page:
    about 30,000 page faults and 8 % of the step's time for a model of 4 million parameters. Small freed blocks are merged
    with their neighbours at once; if they were not, they would prevent large blocks from being reused. The setting affects
    the whole process, so only programs should call this, not libraries.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # a C library other than glibc
        return False

    # The constants of malloc.h.
    largest_fast, trim_threshold, top_pad, mmap_max = 1, -1, -2, -4
    return bool(
        mallopt(mmap_max, 0)
        and mallopt(trim_threshold, 2**31 - 1)
        and mallopt(top_pad, 64 << 20)
        and mallopt(largest_fast, 0)
    )
