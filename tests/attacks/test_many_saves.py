"""Two hundred checkpoints in one process leave no descriptors, threads, memory or temporary files behind."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from sightweave.core import checkpoint, memory
from sightweave.programs.training.checkpoints import Checkpoints, Saver, Snapshot
from sightweave.programs.training.seen import Seen
from sightweave.programs.training.state import State

SAVES, WARM = 200, 20
DESCRIPTORS = Path("/proc/self/fd")
_MOST_BYTES = 32 << 20
"""Largest growth of the memory; if the copies of every save stayed, it would grow by three times as much."""


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="descriptors are counted in /proc")
def test_saving_leaves_nothing_open(tmp_path: Path) -> None:
    model = nn.Linear(256, 256)
    checkpoints = Checkpoints(tmp_path)

    def write(snapshot: Snapshot) -> None:
        checkpoints.write(snapshot)
        checkpoint.write_folder(tmp_path / "checkpoint", {"model": snapshot.weights}, {"recipe": {}})

    def used() -> tuple[int, int]:
        return len(os.listdir(DESCRIPTORS)), threading.active_count()

    gc.collect()  # descriptors of earlier tests may still be open
    before = used()
    with Saver(tmp_path) as saver:
        for number in range(1, SAVES + 1):
            with torch.no_grad():
                model.weight.add_(0.01)
            state = State(
                steps=number,
                data="data",
                seen=Seen(9),
                model=model.state_dict(),
                optimizer={"moment": torch.ones(256, 256)},
                random={"cpu": torch.get_rng_state()},
            )
            saver.save(Snapshot.of(state, model), write)
            if number == WARM:
                saver.finish()
                warm = memory.resident_bytes()
        saver.finish()

    gc.collect()
    assert used() == before
    grown = (memory.resident_bytes() or 0) - (warm or 0)
    assert grown < _MOST_BYTES, f"the memory grew by {grown:,} bytes"

    # Neither temporary folders nor old checkpoints are left.
    assert checkpoints.steps == [SAVES - 1, SAVES]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "checkpoints"]
    assert len(list(checkpoints.folder.iterdir())) == 2
