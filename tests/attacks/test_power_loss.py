"""A power cut may lose everything that was not forced to disk; the run still resumes, and ends with the same weights.

A training is recorded: which content of which file, and which entries of which folder, were forced to disk with fsync, and
in between every renaming, removal and new folder. After each of these operations the power is cut, in two models of a disk:

* strict: files and entries of folders exist as they were at their last fsync, and not at all before it;
* ordered: as on a file system with a journal, names are as the operations left them, but files that were never forced to
  disk are empty.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image

import sightweave
from sightweave import recipe as recipes
from sightweave.core import json_lines
from sightweave.programs.training.checkpoints import Checkpoints, Snapshot
from sightweave.verbs import resuming

pytestmark = pytest.mark.skipif(os.name != "posix", reason="folders cannot be forced to disk")

Tree = Mapping[str, bytes | None]
"""Content of each file by its path; None for a folder."""
OPERATIONS = ("rename", "replace", "unlink", "rmdir", "mkdir")
STEPS = 3


@dataclass(frozen=True)
class Cut:
    """What is on the disk if the power is cut at one moment."""

    tree: Tree
    saved: int
    """Number of updates of the last checkpoint that had been written by then."""


@dataclass
class Disk:
    """Records what a folder would hold after a power cut."""

    root: Path
    contents: dict[int, bytes] = field(default_factory=dict)
    """Content of files at their last fsync, by inode."""
    entries: dict[int, dict[str, int]] = field(default_factory=dict)
    """Inode of each entry of folders at their last fsync, by inode."""
    saved: int = 0
    cuts: list[Cut] = field(default_factory=list)
    pins: list[int] = field(default_factory=list)
    """Open descriptors, so that no number of an inode is used again."""

    def __post_init__(self) -> None:
        self.root.mkdir(exist_ok=True)
        self.force(self.root)

    def force(self, path: Path | int) -> None:
        """Notes what a file or folder holds now."""
        handle = os.dup(path) if isinstance(path, int) else os.open(path, os.O_RDONLY)
        self.pins.append(handle)
        place = Path(f"/dev/fd/{handle}")
        inode = os.fstat(handle).st_ino
        if not place.is_dir():
            self.contents[inode] = place.read_bytes()
            return

        self.entries[inode] = {}
        for name in os.listdir(handle):
            entry = os.open(name, os.O_RDONLY, dir_fd=handle)
            self.pins.append(entry)
            self.entries[inode][name] = os.fstat(entry).st_ino

    def strict(self) -> Tree:
        """Only what was forced to disk."""
        found: dict[str, bytes | None] = {}

        def walk(inode: int, path: str) -> None:
            for name, entry in self.entries[inode].items():
                if entry in self.entries:
                    found[path + name] = None
                    walk(entry, f"{path}{name}/")
                else:
                    # A folder without an fsync looks like an empty file here, and is as useless.
                    found[path + name] = self.contents.get(entry, b"")

        walk(self.root.stat().st_ino, "")
        return found

    def ordered(self) -> Tree:
        """All names, and what was forced to disk of the content."""
        found: dict[str, bytes | None] = {}
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            found[name] = None if path.is_dir() else self.contents.get(path.stat().st_ino, b"")
        return found

    def cut(self) -> None:
        """Notes what a power cut at this moment leaves."""
        for tree in (self.strict(), self.ordered()):
            if all(tree != one.tree for one in self.cuts[-2:]):
                self.cuts.append(Cut(tree, self.saved))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A folder whose operations are recorded; those of all threads, one at a time."""
    made, lock = Disk(tmp_path / "disk"), threading.RLock()
    fsync, write = os.fsync, Checkpoints.write

    def noted_fsync(handle: int) -> None:
        with lock:
            fsync(handle)
            made.force(handle)
            made.cut()

    def noted(operation: Callable[..., None]) -> Callable[..., None]:
        def run(*values: Any, **options: Any) -> None:
            with lock:
                operation(*values, **options)
                made.cut()

        return run

    def noted_write(self: Checkpoints, snapshot: Snapshot) -> None:
        write(self, snapshot)
        made.saved = snapshot.steps

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted_fsync)
        patch.setattr(Checkpoints, "write", noted_write)
        for name in OPERATIONS:
            patch.setattr(os, name, noted(getattr(os, name)))
        yield made
    for pin in made.pins:
        os.close(pin)


def restored(tree: Tree, folder: Path) -> Path:
    """Writes a tree into a new folder."""
    folder.mkdir()
    for name, content in sorted(tree.items()):
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
    return folder


def recipe(folder: Path) -> dict[str, Any]:
    """A training with a checkpoint after each step, on data in a folder."""
    folder.mkdir()
    rows = []
    for number in range(3):
        Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "question": "What?", "answer": str(number), "split": "train"})
    text = "".join(json_lines.dumps(row) + "\n" for row in rows)
    (folder / "data.jsonl").write_text(text, encoding="utf-8")

    stage = {"steps": STEPS, "batch_size": 2}
    train = {"stages": [stage], "num_threads": 1, "precision": "fp32", "save_every": 1, "log_every": 1}
    return {
        "data": str(folder),
        "model": tiny.MODEL,
        "inputs": {"vocab_size": 300},
        "train": train | {"check": False, "validate_every": 0},
    }


def test_a_power_cut_at_any_moment_costs_no_checkpoint_that_was_written(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe(tmp_path / "data")
    sightweave.train(asked, out=disk.root / "run", evaluate=False, progress=False)
    cuts = list(disk.cuts)
    monkeypatch.undo()
    whole = (disk.root / "run" / "checkpoint" / "model.safetensors").read_bytes()

    # What the next command finds.
    found: dict[int, Path] = {}
    for number, cut in enumerate(cuts):
        run = restored(cut.tree, tmp_path / f"cut-{number}") / "run"
        earlier = resuming.earlier_run(run, recipes.read(asked), allow_changes=False)
        if earlier is None:
            assert cut.saved == 0, f"cut {number}: the checkpoint after step {cut.saved} is lost"
        elif earlier.state is None:
            assert sightweave.load(run).folder == run
        else:
            assert earlier.state.steps >= cut.saved
            found.setdefault(earlier.state.steps, run)
    assert sorted(found) == list(range(1, STEPS + 1))

    # Each checkpoint leads to the same end.
    for run in found.values():
        sightweave.train(asked, out=run, evaluate=False, progress=False)
        assert (run / "checkpoint" / "model.safetensors").read_bytes() == whole
        assert losses(run) == losses(disk.root / "run")


def losses(run: Path) -> list[tuple[int, float]]:
    """Step and loss of each row of the log."""
    return [(row["step"], row["loss"]) for _, row in json_lines.values(run / "metrics.jsonl")]
