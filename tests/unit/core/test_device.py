"""Devices and precisions: what is asked for, what is there, and what is fast."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from sightweave.core import remembered
from sightweave.core.cores import default_threads
from sightweave.core.device import (
    _gain,
    choose_device,
    choose_precision,
    limit_threads,
    num_cores,
    processor_name,
    set_threads,
    side_by_side,
)
from sightweave.core.errors import BackendError

CPU = torch.device("cpu")


def test_auto_takes_what_is_there() -> None:
    kind = choose_device("auto").type
    assert kind == (
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    assert choose_device("cpu") == CPU


def test_an_unknown_device_is_named_with_the_known_ones() -> None:
    with pytest.raises(BackendError, match=r"device 'cdua' is unknown. Did you mean 'cuda'\?"):
        choose_device("cdua")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_missing_device_says_what_there_is() -> None:
    with pytest.raises(BackendError, match=r"device 'cuda': not available on this machine; available: .*cpu"):
        choose_device("cuda")


def test_an_index_must_be_a_number() -> None:
    with pytest.raises(BackendError, match="counted from 0"):
        choose_device("cpu:x")


def test_auto_takes_the_faster_precision() -> None:
    chosen = choose_precision("auto", CPU)

    def seconds(dtype: torch.dtype) -> float:
        matrix = torch.ones(256, 256, dtype=dtype)
        matrix @ matrix
        times = []
        for _ in range(5):
            start = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - start)
        return min(times)

    gain = seconds(torch.float32) / seconds(torch.bfloat16)
    if gain < 0.8 or gain > 2:  # between, either is right
        assert chosen.name == ("bf16" if gain > 1 else "fp32")
    assert "x as fast as fp32 here; bf16 is used from" in chosen.reason


def test_what_was_measured_is_remembered_for_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTWEAVE_CACHE", str(tmp_path / "new" / "folder"))
    first = choose_precision("auto", CPU)
    assert "measured earlier" not in first.reason
    (known,) = remembered.recall("precision").items()
    assert processor_name() in known[0]
    assert f"torch {torch.__version__}" in known[0]
    again = choose_precision("auto", CPU)
    assert (again.name, "measured earlier" in again.reason) == (first.name, True)
    # It is the file that decides, whatever the machine is doing now.
    for gain, name in ((1.31, "bf16"), (1.29, "fp32"), (1529.0, "bf16")):
        remembered.remember("precision", {known[0]: gain})
        assert choose_precision("auto", CPU).name == name
    for damaged in (-1, 0, "2", True, None, float("inf"), []):
        remembered.remember("precision", {known[0]: damaged})
        assert "measured earlier" not in choose_precision("auto", CPU).reason


def test_a_machine_that_remembers_nothing_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    for place in ("", str(tmp_path / "file"), str(tmp_path / "file" / "below")):
        monkeypatch.setenv("SIGHTWEAVE_CACHE", place)
        assert choose_precision("auto", CPU).name in ("fp32", "bf16")
        assert not remembered.recall("precision")


def test_a_stall_makes_no_precision_faster() -> None:
    even = [0.001] * 9
    assert _gain(even, even) == pytest.approx(1.0)
    assert _gain([*even[:8], 1.5], even) == pytest.approx(1.0)
    # Most calls of one kind were disturbed: the best of them still tell.
    assert _gain([0.001, *([1.5] * 8)], even) == pytest.approx(1.0)
    assert _gain([0.002] * 9, even) == pytest.approx(2.0)
    # In doubt it is fp32: here most pairs say that there is no gain.
    assert _gain([0.002, 0.002, 0.001, 0.001, 0.001], [0.001] * 5) == pytest.approx(1.0)


def test_autocast_multiplies_in_the_chosen_format() -> None:
    matrix = torch.ones(4, 4)
    with choose_precision("bf16", CPU).autocast():
        assert (matrix @ matrix).dtype == torch.bfloat16
    with choose_precision("fp32", CPU).autocast():
        assert (matrix @ matrix).dtype == torch.float32


def test_an_unknown_precision() -> None:
    with pytest.raises(BackendError, match=r"precision 'bf61' is unknown. Did you mean 'bf16'\?"):
        choose_precision("bf61", CPU)  # type: ignore[arg-type]


def test_threads() -> None:
    before = torch.get_num_threads()
    try:
        assert set_threads(2) == torch.get_num_threads() == 2
        assert set_threads() == torch.get_num_threads() == default_threads() >= 1
        torch.set_num_threads(
            num_cores() + 7
        )  # as torch does in a container that has fewer cores than the machine
        assert limit_threads() == torch.get_num_threads() == default_threads()
        torch.set_num_threads(1)
        assert limit_threads() == 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(BackendError, match=r"threads must be 1 or more \(got 0\)"):
        set_threads(0)


def test_the_processor_has_a_name() -> None:
    assert processor_name().strip()


def test_freed_memory_is_kept() -> None:
    # In a process of its own: the setting holds for all of it.
    code = """
import resource, sys
import torch
from sightweave.core.device import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(8 << 20)  # 32 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
if keep_freed_memory():
    faults()
    assert faults() < usual / 4, (usual, faults())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_environment()
    )
    assert done.returncode == 0, done.stderr


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}


def test_side_by_side_keeps_the_order_and_gives_every_item_a_thread() -> None:
    before = torch.get_num_threads()
    cpu = torch.device("cpu")

    def work(item: int) -> tuple[int, int, str]:
        return item, torch.get_num_threads(), threading.current_thread().name

    try:
        torch.set_num_threads(2)
        found = list(side_by_side(work, range(5), cpu))
        assert [item for item, _, _ in found] == [0, 1, 2, 3, 4]
        assert {count for _, count, _ in found} == {1}
        assert all(name.startswith("side") for _, _, name in found)
        assert torch.get_num_threads() == 2
        assert list(side_by_side(work, [7], cpu)) == [(7, 2, threading.current_thread().name)]
        with pytest.raises(ZeroDivisionError):
            list(side_by_side(lambda item: 1 // item, [1, 0, 1], cpu))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
