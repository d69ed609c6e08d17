"""Free memory as the system, its control groups and the process's own limit say; and which errors mean that it ran out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from sightweave.core.memory import (
    free_bytes,
    is_out_of_memory,
    peak_bytes,
    resident_bytes,
    total_bytes,
)

CPU = torch.device("cpu")
GROUPS = "sys/fs/cgroup"


def machine(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n"}, 4000 * 1024),
        (
            {
                "proc/meminfo": "MemAvailable: 4000 kB\n",
                "proc/self/cgroup": "0::/a/b\n",
                f"{GROUPS}/a/memory.max": "3000\n",
                f"{GROUPS}/a/memory.current": "2500\n",
                f"{GROUPS}/a/memory.stat": "anon 100\ninactive_file 200\n",
                f"{GROUPS}/a/b/memory.max": "max\n",
                f"{GROUPS}/a/b/memory.current": "5\n",
            },
            700,
        ),
        (
            {
                "proc/meminfo": "MemAvailable: 4000 kB\n",
                "proc/self/cgroup": "4:memory:/job\n",
                f"{GROUPS}/memory/job/memory.limit_in_bytes": "9000\n",
                f"{GROUPS}/memory/job/memory.usage_in_bytes": "1000\n",
            },
            8000,
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                f"{GROUPS}/memory.max": "10\n",
                f"{GROUPS}/memory.current": "30\n",
            },
            0,
        ),
        ({"proc/meminfo": "MemAvailable: much\n"}, 2 << 30),
        ({}, 2 << 30),
    ],
)
def test_the_least_of_all_limits_is_free(tmp_path: Path, files: Mapping[str, str], expected: int) -> None:
    assert free_bytes(CPU, machine(tmp_path, files)) == expected


def test_a_failed_allocation_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(1 << 60)
    assert is_out_of_memory(failed.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    with pytest.raises(RuntimeError) as other:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not is_out_of_memory(other.value)
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_limit_of_address_space_counts() -> None:
    code = """
import resource
import torch
from sightweave.core.memory import free_bytes

with open("/proc/self/statm") as file:
    held = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (64 << 20), -1))
assert 0 < free_bytes(torch.device("cpu")) <= 64 << 20
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_the_peak_is_that_of_this_process(tmp_path: Path) -> None:
    status = {"proc/self/status": "Name:\tpython\nVmPeak:\t 9000 kB\nVmHWM:\t 3000 kB\nVmRSS:\t 2000 kB\n"}
    assert peak_bytes(CPU, machine(tmp_path, status)) == 3000 * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_the_peak_grows_with_what_is_used() -> None:
    used = torch.ones(1 << 20)
    assert peak_bytes(CPU) > used.nbytes


def test_a_machines_total_is_its_memory_with_swap_or_the_least_limit(tmp_path: Path) -> None:
    files = {"proc/meminfo": "MemTotal: 9000 kB\nSwapTotal: 1000 kB\n", "proc/self/cgroup": "0::/a\n"}
    assert total_bytes(CPU, machine(tmp_path, files)) == 10_000 * 1024
    assert total_bytes(CPU, machine(tmp_path, {f"{GROUPS}/a/memory.max": "max\n"})) == 10_000 * 1024
    assert total_bytes(CPU, machine(tmp_path, {f"{GROUPS}/a/memory.max": "5000\n"})) == 5000
    assert total_bytes(CPU, tmp_path / "elsewhere") is None


def test_the_resident_memory_is_what_the_system_says(tmp_path: Path) -> None:
    assert resident_bytes(machine(tmp_path, {"proc/self/status": "VmRSS:   300 kB\n"})) == 300 * 1024
    assert resident_bytes(tmp_path / "elsewhere") is None
