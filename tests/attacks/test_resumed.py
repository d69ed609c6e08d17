"""Training that dies at any moment and is resumed by the same call ends as if it had never stopped, to the last bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sightweave
from sightweave.programs.training.checkpoints import Checkpoints
from sightweave.programs.training.trainer import NonFiniteLoss

ROOT = Path(__file__).parents[2]


class Died(BaseException):
    """Ends a training where a kill would have; nothing that comes after it is run, except for what Python cleans up."""


@pytest.fixture(scope="module")
def kills() -> Iterator[Any]:
    """benchmarks/kills.py, which kills a hundred times at random."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks import kills

        yield kills


@pytest.fixture(scope="module")
def folder(kills: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data."""
    made = tmp_path_factory.mktemp("kills")
    kills.make_data(made)
    return made


def train(kills: Any, recipe: dict[str, Any], out: Path, dies_after: int | None = None) -> None:
    """Trains in this process."""

    def counted(steps: int) -> None:
        if steps == dies_after:
            raise Died

    with kills.recording(out, counted=counted):
        sightweave.train(recipe, out=out, evaluate=False, progress=False)


DEATHS = {
    "in the second epoch, and again in it": ("accumulation over epochs", 1, (6, 8)),
    "at the end of an epoch": ("accumulation over epochs", 1, (3, 4)),
    "inside windows, decoded in three threads": ("windows, then muon", 1, (2, 4)),
    "between two stages": ("windows, then muon", 5, (6,)),
    "inside a stage of words": ("words, then mixed sources", 2, (3,)),
    "inside a stage of image tokens, and after it": ("image tokens, then answers", 1, (2, 6)),
    "in mixed sources with augmented and hidden images": ("words, then mixed sources", 3, (8,)),
    "with cached features": ("cached features, then all", 1, (3, 7)),
    "with shards and tiles": ("shards and tiles", 2, (5, 8)),
    "inside a stage of adapters, and after it": ("adapters between two stages", 1, (3, 6, 11)),
    "with a quantized part": ("a quantized part", 2, (3, 8)),
}


@pytest.mark.parametrize("name", DEATHS)
def test_a_training_that_dies_is_resumed_to_the_last_bit(
    kills: Any, folder: Path, tmp_path: Path, name: str
) -> None:
    kind, save_every, deaths = DEATHS[name]
    recipe = kills.recipes(folder)[kind]
    if "quantized" in kind:
        pytest.importorskip("bitsandbytes")
    if "adapters" in kind or "quantized" in kind:
        pytest.importorskip("peft")
    recipe["train"]["save_every"] = save_every

    train(kills, recipe, tmp_path / "whole")
    for steps in deaths:
        with pytest.raises(Died):
            train(kills, recipe, tmp_path / "out", steps)
    train(kills, recipe, tmp_path / "out")

    resumed = kills.Trace.read(tmp_path / "out").resumed
    assert len(resumed) == 1 + len(deaths)
    assert all(0 < steps <= death for steps, death in zip(resumed[1:], deaths, strict=True)), resumed
    assert kills.compare(tmp_path / "whole", tmp_path / "out") == []


def test_real_kills_between_and_during_saves(kills: Any, folder: Path, tmp_path: Path) -> None:
    recipe = kills.recipes(folder)["windows, then muon"]
    recipe["train"]["save_every"] = 1
    assert kills.process(recipe, tmp_path / "whole") == 0
    # The n-th time that a file of the run is opened, renamed or removed: while one is written, put in place or removed.
    for event in (9, 31, 48):
        assert kills.process(recipe, tmp_path / "out", event=event) == -signal.SIGKILL
        assert not (tmp_path / "out" / "checkpoint").exists() or sightweave.load(tmp_path / "out")
    assert kills.process(recipe, tmp_path / "out") == 0
    assert kills.compare(tmp_path / "whole", tmp_path / "out") == []
    left = [path.name for path in (tmp_path / "out").rglob(".*") if path.name != ".sightweave"]
    assert left == []


def test_what_differs_is_found(kills: Any, folder: Path, tmp_path: Path) -> None:
    recipe = kills.recipes(folder)["shards and tiles"]
    train(kills, recipe, tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.copy(tmp_path / f"one-{kills.TRACE}", tmp_path / f"two-{kills.TRACE}")
    assert kills.compare(tmp_path / "one", tmp_path / "two") == []
    other = {**recipe, "seed": 1}
    train(kills, other, tmp_path / "three")
    found = kills.compare(tmp_path / "one", tmp_path / "three")
    assert found[0].startswith("step 1: ")
    assert "checkpoint/model.safetensors differs" in found


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limits on the size of a file")
def test_a_file_that_may_not_grow_costs_a_checkpoint_and_not_the_run(
    kills: Any, folder: Path, tmp_path: Path
) -> None:
    recipe = kills.recipes(folder)["accumulation over epochs"]
    train(kills, recipe, tmp_path / "whole")
    # EFBIG in the middle of a file, for the first two checkpoints; later ones may be written.
    program = f"""
import json, resource, signal, sys, threading
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from benchmarks import kills
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

def counted(steps):
    for thread in threading.enumerate():  # the checkpoint of before is written with the limit of before
        if thread.name == "checkpoint":
            thread.join()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096 if steps < 7 else hard, hard))

import sightweave
from pathlib import Path
out = Path({str(tmp_path / "out")!r})
with kills.recording(out, counted=counted):
    sightweave.train({recipe!r}, out=out, evaluate=False, progress=False)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "checkpoint after step 3 not saved; training continues: " in done.stderr
    assert "File too large" in done.stderr
    assert "free" in done.stderr
    assert kills.Trace.read(tmp_path / "out").saved == [9]
    assert kills.compare(tmp_path / "whole", tmp_path / "out") == []


def test_a_training_that_is_asked_to_end_is_resumed(kills: Any, folder: Path, tmp_path: Path) -> None:
    recipe = kills.recipes(folder)["accumulation over epochs"]
    train(kills, recipe, tmp_path / "whole")

    def counted(steps: int) -> None:
        if steps == 5:
            signal.raise_signal(signal.SIGTERM)

    with kills.recording(tmp_path / "out", counted=counted):
        stopped = sightweave.train(recipe, out=tmp_path / "out", evaluate=False, progress=False)
    assert stopped.stop_signal == signal.SIGTERM
    assert "interrupted after step 5 of 10" in stopped.unfinished
    assert (tmp_path / "out" / "checkpoints" / "step-00000005").is_dir()
    train(kills, recipe, tmp_path / "out")
    assert kills.Trace.read(tmp_path / "out").resumed == [0, 5]
    assert kills.compare(tmp_path / "whole", tmp_path / "out") == []


def test_a_folder_that_is_taken_away_under_a_run_costs_its_files_and_not_the_run(
    kills: Any, folder: Path, tmp_path: Path
) -> None:
    recipe = kills.recipes(folder)["accumulation over epochs"]
    train(kills, recipe, tmp_path / "whole")

    def counted(steps: int) -> None:
        if steps == 4:
            (tmp_path / "out").rename(tmp_path / "gone")

    with kills.recording(tmp_path / "out", counted=counted):
        run = sightweave.train(recipe, out=tmp_path / "out", evaluate=False, progress=False)
    one, two = (
        place / "checkpoint" / "model.safetensors" for place in (tmp_path / "whole", tmp_path / "out")
    )
    assert one.read_bytes() == two.read_bytes()
    assert run.folder == tmp_path / "out"


def test_a_loss_that_is_not_finite_ends_the_run_before_it_reaches_a_checkpoint(
    kills: Any, folder: Path, tmp_path: Path
) -> None:
    recipe = kills.recipes(folder)["accumulation over epochs"]
    usual = recipe["train"]["stages"][0] | {"steps": 4}
    recipe["train"] |= {
        "stages": [usual, usual | {"name": "wild", "optimizer": {"lr": 1e30}}],
        "save_every": 4,
    }
    for _ in range(2):  # the same call ends in the same way
        with pytest.raises(
            NonFiniteLoss, match=r"stage 'wild', .*no update was made with it\. Samples of its last"
        ):
            train(kills, recipe, tmp_path / "out")
        assert Checkpoints(tmp_path / "out").steps == [4]
        assert sightweave.load(tmp_path / "out").generate(None, "How large?", max_tokens=2).tokens

    # With a lower rate, the run goes on from its last useful weights.
    tamed = "train.stages.1.optimizer.lr=1e-3"
    run = sightweave.train(
        recipe, tamed, out=tmp_path / "out", allow_changes=True, evaluate=False, progress=False
    )
    assert not run.unfinished
