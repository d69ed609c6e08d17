"""Cores that this process may use: those of the machine, less what affinity, a container's quota or the user takes away."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

OMP_THREADS = "OMP_NUM_THREADS"
"""The variable by which users and schedulers say how many threads a program should have."""
_ROOT = Path("/")


def num_cores(root: Path = _ROOT) -> int:
    """Cores that this process may use: the fewest of those that there are, its affinity, and the quota of its container.

    Args:
        root: Where ``proc`` and ``sys`` are; another folder in tests.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return there if quota is None else max(1, min(there, int(quota)))


def default_threads(root: Path = _ROOT) -> int:
    """Threads for computing where nobody asks for a number: one for each core, or ``OMP_NUM_THREADS`` if that is less."""
    asked = threads_in(os.environ)
    return num_cores(root) if asked is None else min(asked, num_cores(root))


def threads_in(environment: Mapping[str, str]) -> int | None:
    """What ``OMP_NUM_THREADS`` says; None where it says nothing that is a number of threads.

    A list such as ``4,2`` gives the threads of nested regions; the first number is that of the outermost one.
    """
    text = environment.get(OMP_THREADS, "").partition(",")[0].strip()
    return int(text) if text.isascii() and text.isdigit() and int(text) else None


def cpu_quota(root: Path = _ROOT) -> float | None:
    """CPUs that the control groups of this process allow it, such as 1.5; None where there is no limit.

    Both versions are read (``man 7 cgroups``): of version 2 ``cpu.max``, of version 1 ``cpu.cfs_quota_us`` over
    ``cpu.cfs_period_us``. Each group is bounded by those above it, so the least of them counts.
    """
    quotas = [_of_version_2(folder) for folder in control_groups(root, controller="")]
    for mount in ("cpu,cpuacct", "cpu"):
        quotas += [_of_version_1(folder) for folder in control_groups(root, controller="cpu", mount=mount)]
    known = [quota for quota in quotas if quota is not None]
    return min(known, default=None)


def control_groups(root: Path, *, controller: str, mount: str = "") -> Iterator[Path]:
    """Folders of this process's group and of all above it.

    Inside a container the path is the host's and may not be there; the mount itself is then the container's group.
    """
    top = root / "sys" / "fs" / "cgroup" / mount
    own = PurePosixPath("/")
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            own = PurePosixPath("/", path)
    if ".." in own.parts:  # the group of a process outside this container
        own = PurePosixPath("/")
    for folder in (own, *own.parents):
        yield top / folder.relative_to("/")


def _of_version_2(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    return _ratio(quota, period)


def _of_version_1(folder: Path) -> float | None:
    quota, period = (_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return _ratio(quota, period)


def _ratio(quota: str, period: str) -> float | None:
    """``max`` and -1 mean that there is no limit."""
    if not (quota.isascii() and quota.isdigit() and period.isascii() and period.isdigit()):
        return None
    return int(quota) / int(period) if int(quota) and int(period) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux, or not to be read
        return ""
