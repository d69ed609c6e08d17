"""Cores that a process may use, as kernels of several kinds say it; the trees of files are those of real machines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from sightweave.core.cores import cpu_quota, default_threads, num_cores, sleep_at_barriers, threads_in

SOURCE = Path(__file__).parents[3] / "src"


def machine(root: Path, cgroup: str, files: Mapping[str, str]) -> Path:
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        # Version 2, inside a container, where its own group is the root.
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        # On the host, in a group; one above it is narrower.
        (
            "0::/a.slice/b.scope\n",
            {"a.slice/b.scope/cpu.max": "400000 100000", "a.slice/cpu.max": "200000 100000"},
            2.0,
        ),
        ("0::/a.slice\n", {"a.slice/cpu.max": "max 100000", "cpu.max": "50000 100000"}, 0.5),
        # The path of the host is not there.
        ("0::/docker/1f\n", {"cpu.max": "300000 100000"}, 3.0),
        ("0::/../../b\n", {"cpu.max": "100000 100000"}, 1.0),
        # Version 1.
        (
            "5:cpu,cpuacct:/docker/1f\n0::/\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        (
            "3:cpu:/job\n",
            {"cpu/job/cpu.cfs_quota_us": "100000\n", "cpu/job/cpu.cfs_period_us": "50000\n"},
            2.0,
        ),
        (
            "3:cpuset:/\n2:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        # Nothing, and nonsense.
        ("", {}, None),
        ("0::/\n", {"cpu.max": ""}, None),
        ("0::/\n", {"cpu.max": "many 100000"}, None),
        ("0::/\n", {"cpu.max": "100000"}, None),
        ("0::/\n", {"cpu.max": "100000 0"}, None),
    ],
)
def test_the_quota_of_a_container(
    tmp_path: Path, cgroup: str, files: Mapping[str, str], quota: float | None
) -> None:
    root = machine(tmp_path, cgroup, files)
    assert cpu_quota(root) == quota
    there = num_cores(tmp_path / "no machine")
    assert num_cores(root) == (there if quota is None else max(1, min(there, int(quota))))


def test_a_machine_without_such_files_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system sets no affinity")
def test_affinity_is_respected() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert num_cores() == default_threads() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("text", "threads"),
    [
        ("3", 3),
        (" 2 ", 2),
        ("4,2", 4),
        ("", None),
        ("0", None),
        ("-1", None),
        ("all", None),
        ("\u00b2", None),
    ],
)
def test_what_the_variable_says(text: str, threads: int | None) -> None:
    assert threads_in({"OMP_NUM_THREADS": text}) == threads


def test_no_variable_says_nothing() -> None:
    assert threads_in({}) is None


@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("1000", num_cores()), (None, num_cores())])
def test_the_users_number_of_threads_is_kept(asked: str | None, threads: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {"PYTHONPATH": str(SOURCE)} | ({"OMP_NUM_THREADS": asked} if asked else {})
    code = "from sightweave.core.device import set_threads; print(set_threads())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == threads


def test_threads_sleep_at_barriers() -> None:
    environment = {"OMP_NUM_THREADS": "2"}
    assert sleep_at_barriers(environment)
    assert environment == {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize(
    "chosen", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "1000"}, {"KMP_BLOCKTIME": "200"}]
)
def test_the_users_way_of_waiting_is_kept(chosen: Mapping[str, str]) -> None:
    environment = dict(chosen)
    assert not sleep_at_barriers(environment)
    assert environment == chosen
