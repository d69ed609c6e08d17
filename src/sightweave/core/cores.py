"""Number of cores that this process may use, given its affinity, its container's quota and the user's settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

OMP_THREADS = "OMP_NUM_THREADS"
"""Environment variable with which users and schedulers set the number of threads of a program."""
_ROOT = Path("/")


def num_cores(root: Path = _ROOT) -> int:
    """Number of cores that this process may use: the least of the machine's, its affinity, and its container's quota.

    Args:
        root: Folder that contains ``proc`` and ``sys``; tests pass another one.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return there if quota is None else max(1, min(there, int(quota)))


def default_threads(root: Path = _ROOT) -> int:
    """Default number of computing threads: one per core, or ``OMP_NUM_THREADS`` if that is less."""
    asked = threads_in(os.environ)
    return num_cores(root) if asked is None else min(asked, num_cores(root))


def threads_in(environment: Mapping[str, str]) -> int | None:
    """The number in ``OMP_NUM_THREADS``; None if there is no valid one.

    In a list such as ``4,2``, which is for nested regions, the first number is that of the outermost.
    """
    text = environment.get(OMP_THREADS, "").partition(",")[0].strip()
    return int(text) if text.isascii() and text.isdigit() and int(text) else None


def cpu_quota(root: Path = _ROOT) -> float | None:
    """CPUs that the control groups of this process allow it, such as 1.5; None if there is no limit.

    Both versions are read (``man 7 cgroups``): ``cpu.max`` of version 2, and ``cpu.cfs_quota_us`` over
    ``cpu.cfs_period_us`` of version 1. Each group is limited by those above it, so the minimum counts.
    """
    quotas = [_of_version_2(folder) for folder in control_groups(root, controller="")]
    for mount in ("cpu,cpuacct", "cpu"):
        quotas += [_of_version_1(folder) for folder in control_groups(root, controller="cpu", mount=mount)]
    known = [quota for quota in quotas if quota is not None]
    return min(known, default=None)


def control_groups(root: Path, *, controller: str, mount: str = "") -> Iterator[Path]:
    """Folders of this process's control group and of all above it.

    Inside a container the path is the host's and may not exist; the mount itself is then the container's group.
    """
    top = root / "sys" / "fs" / "cgroup" / mount
    own = PurePosixPath("/")
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            own = PurePosixPath("/", path)

    if ".." in own.parts:  # the group is outside this container
        own = PurePosixPath("/")

    for folder in (own, *own.parents):
        yield top / folder.relative_to("/")


def _of_version_2(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    return _ratio(quota, period)


def _of_version_1(folder: Path) -> float | None:
    quota = _text(folder / "cpu.cfs_quota_us").strip()
    period = _text(folder / "cpu.cfs_period_us").strip()
    return _ratio(quota, period)


def _ratio(quota: str, period: str) -> float | None:
    """Quota over period; None if there is no limit, which is written as ``max`` or -1."""
    if not (quota.isascii() and quota.isdigit() and period.isascii() and period.isdigit()):
        return None
    return int(quota) / int(period) if int(quota) and int(period) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux, or not readable
        return ""
