"""Choice of device and precision: what is available, and what is fast there."""

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
"""Side of the timed matrices: where bf16 is emulated, even this takes about 40 ms."""
_MOST_PAIRS, _FEWEST_PAIRS, _SECONDS = 60, 7, 1.0
"""Maximum and minimum calls of each kind, alternating, and the seconds after which the minimum is enough."""
_MIN_GAIN = 1.3
"""Required speed-up of bf16, which costs precision and a cast of the weights in every step."""
_GAIN_FILE = "precision"
"""File in the user's cache folder that keeps the measured speed-up."""

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
    """The device of that name; ``auto`` takes CUDA, then Apple's GPU, then the CPU.

    Raises:
        BackendError: the device is unknown, or not on this machine.
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
    """Number format in which matrices are multiplied; weights stay fp32."""

    name: Literal["fp32", "bf16"]
    device: torch.device
    reason: str
    """Why it was chosen, for reports."""

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """A context in which torch multiplies matrices in this format."""
        if self.name == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def choose_precision(name: PrecisionName, device: torch.device) -> Precision:
    """The precision of that name; ``auto`` times matmuls of both kinds, which takes about a second once per machine.

    bf16 is twice as fast as fp32 on some CPUs and a hundred times slower on others, so only a measurement can tell. It is
    kept in the user's cache folder for this processor and version of torch, so that runs on one machine do not depend on its
    load. In doubt, fp32 is chosen.

    Raises:
        BackendError: unknown name.
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
    """The speed-up that was measured on this machine earlier; None if there is none or it is not a valid number."""
    gain = remembered.recall(_GAIN_FILE).get(key)
    if isinstance(gain, bool) or not isinstance(gain, int | float):
        return None
    return float(gain) if 0 < gain < float("inf") else None


def _gain(fp32: Sequence[float], bf16: Sequence[float]) -> float:
    """The speed-up of bf16 over fp32 that is certain from these times: the smallest of three estimates.

    Load on the machine makes some calls slow, but never one fast. So the best calls are compared, the median ones, and
    consecutive ones by their median.
    """
    pairs = [slow / fast for slow, fast in zip(fp32, bf16, strict=True)]
    return min(min(fp32) / min(bf16), median(fp32) / median(bf16), median(pairs))


def _seconds_per_matmul(device: torch.device) -> tuple[list[float], list[float]]:
    """Seconds of alternating matmuls in fp32 and in bf16.

    They run on one thread: on a busy machine, two threads would spend the time waiting for each other.
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
    """Seconds of one matrix product."""
    start = time.perf_counter()
    torch.mm(matrix, matrix)
    if matrix.device.type == "cuda":
        torch.cuda.synchronize(matrix.device)
    return time.perf_counter() - start


def set_threads(threads: int | None = None) -> int:
    """Sets the number of threads that torch uses, and returns it.

    The default is one per core that this process may use by its CPU affinity and its container's quota, or
    ``OMP_NUM_THREADS`` if that is less.

    Raises:
        BackendError: fewer than one.
    """
    threads = default_threads() if threads is None else threads
    if threads < 1:
        raise BackendError(f"threads must be 1 or more (got {threads}).")
    torch.set_num_threads(threads)
    return threads


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Makes torch use one thread inside the block, for small work in which threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def limit_threads() -> int:
    """Reduces torch's threads to the cores that this process may use, as in a container; returns their number."""
    allowed = default_threads()
    if torch.get_num_threads() > allowed:
        torch.set_num_threads(allowed)
    return torch.get_num_threads()


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """Applies `work` to each item and yields the results in order; on a CPU several run at once, each on its own core.

    Two threads that share every small multiplication gain a sixth; two with separate work gain a half (measured on two
    cores with a model of a million parameters). On other devices, or with one item, the items are processed in turn.
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
    """The name by which a processor identifies itself, for reports."""
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
    """Makes the C library keep freed memory instead of returning it to the system; True if that is known to work.

    Without it, each training step on a CPU returns its activations and gets them back page by page: about 30,000 page faults
    and 8 % of the time of a 4 M model's step. Small blocks are merged with their neighbours at once; left apart, they would
    keep large blocks from being reused. It affects the whole process, so programs call it, and libraries should not.
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
