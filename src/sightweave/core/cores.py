"""Determines the number of CPU cores that this process may use, from its affinity, container quota and environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path, PurePosixPath

OMP_THREADS = "OMP_NUM_THREADS"
"""Environment variable by which users and job schedulers set a program's number of threads."""
WAIT_POLICY = "OMP_WAIT_POLICY"
"""Environment variable for what threads do at a barrier: spin (ACTIVE) or sleep (PASSIVE) until the others arrive."""
_WAITING = (WAIT_POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables with which users choose how threads wait, in any OpenMP library."""
_ROOT = Path("/")


def num_cores(root: Path = _ROOT) -> int:
    """Number of CPU cores that this process may use, given its CPU affinity and its container's quota.

    Args:
        root: Folder that contains ``proc`` and ``sys``; tests pass another one.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return there if quota is None else max(1, min(there, int(quota)))


def default_threads(root: Path = _ROOT) -> int:
    """Default number of compute threads: one per usable core, or ``OMP_NUM_THREADS`` if that is less."""
    asked = threads_in(os.environ)
    return num_cores(root) if asked is None else min(asked, num_cores(root))


def threads_in(environment: Mapping[str, str]) -> int | None:
    """The value of ``OMP_NUM_THREADS`` in an environment; None if it is missing or invalid.

    For a list such as ``4,2``, which has one number per level of nested parallel regions, the first number is returned.
    """
    text = environment.get(OMP_THREADS, "").partition(",")[0].strip()
    return int(text) if text.isascii() and text.isdigit() and int(text) else None


def sleep_at_barriers(environment: MutableMapping[str, str]) -> bool:
    """Makes the threads of a process sleep while they wait for one another, unless the user chose how they wait.

    By default, a thread that waits at a barrier of OpenMP keeps its core busy for a while. If another program needs that
    core, the thread that is waited for may not get it, and a step takes several times as long. OpenMP reads the variable
    when torch is imported, so this must happen before. Programs may call this, libraries should not.

    Args:
        environment: The environment of this process, ``os.environ``.

    Returns:
        Whether the environment was changed.
    """
    if any(name in environment for name in _WAITING):
        return False
    environment[WAIT_POLICY] = "PASSIVE"
    return True


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Number of CPUs that this process may use according to its control groups, such as 1.5; None if there is no limit.

    Both versions of control groups are read (``man 7 cgroups``): ``cpu.max`` of version 2, and ``cpu.cfs_quota_us`` divided
    by ``cpu.cfs_period_us`` of version 1. A group is also limited by the groups above it, so the minimum is returned.
    """
    quotas = [_of_version_2(folder) for folder in control_groups(root, controller="")]
    for mount in ("cpu,cpuacct", "cpu"):
        quotas += [_of_version_1(folder) for folder in control_groups(root, controller="cpu", mount=mount)]
    known = [quota for quota in quotas if quota is not None]
    return min(known, default=None)


def control_groups(root: Path, *, controller: str, mount: str = "") -> Iterator[Path]:
    """Yields the folders of this process's control group and of all groups above it.

    Inside a container, the group's path may be that of the host and not exist; the mount point, which is yielded last, is
    then the container's own group.

    Args:
        root: Folder that contains ``proc`` and ``sys``.
        controller: Name of the controller in version 1; empty for version 2.
        mount: Folder of the controller below ``/sys/fs/cgroup``; empty for version 2.
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
    """The quota divided by the period; None if there is no limit, which is written as ``max`` or -1."""
    if not (quota.isascii() and quota.isdigit() and period.isascii() and period.isdigit()):
        return None
    return int(quota) / int(period) if int(quota) and int(period) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux, or not readable
        return ""
