"""The checkpoints that training resumes from: ``RUN/checkpoints/step-00000120/``, one folder for each saved step.

A folder holds a `State` as ``state.safetensors`` and ``state.json``, and a manifest. It is complete or absent (see
`core.checkpoint`), and only the names of the folders say which one is the newest. A thread writes them from copies while
training continues. If the model is sharded, each process writes its rows into a file of its own (see `core.sharded_files`),
and any number of processes can read them.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from sightweave.core import checkpoint, files, sharded_files
from sightweave.core.errors import CheckpointError
from sightweave.core.run_folder import CHECKPOINTS
from sightweave.core.sharded_files import ShardedTensors
from sightweave.programs.training.state import State
from sightweave.programs.training.weight_average import QUANTITY as AVERAGE

logger = logging.getLogger(__name__)
_POLL = 0.02
"""Seconds between two checks for the shares of the other processes."""
STATE = "state"
"""Name of the two files of a state, without their suffixes."""
_NAME = re.compile(r"\.?step-(\d{1,18})(?:\.previous)?")
"""Name of a checkpoint's folder; the longer form is that of one that was being replaced when the process died."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Copies of a training state and of the weights to load, which later updates do not change."""

    steps: int
    """Number of updates so far."""
    document: Mapping[str, Any]
    """The state without its tensors, as JSON."""
    tensors: Mapping[str, Tensor]
    """The tensors of the state, on the CPU."""
    weights: Mapping[str, Tensor]
    """The weights of the model to load, on the CPU; they share memory with `tensors` where they are the same."""
    best: int | None = None
    """Number of updates at the best validation so far."""

    @classmethod
    def of(cls, state: State, model: nn.Module | None) -> Self:
        """Copies everything.

        Args:
            state: State with its tensors.
            model: Model to load, which may share weights with the state; None if the state is the share of one process.
        """
        copies: dict[tuple[Any, ...], Tensor] = {}
        tensors = _copied(state.to_tensors(), copies)
        weights = {} if model is None else _copied(model.state_dict(), copies)
        best = None if state.best is None else state.best.step
        return cls(state.steps, state.to_json(), tensors, weights, best)

    @property
    def nbytes(self) -> int:
        """Bytes that the files of the state and of the weights take."""
        return _nbytes(self.tensors) + _nbytes(self.weights)


def _copied(tensors: Mapping[str, Tensor], copies: dict[tuple[Any, ...], Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU; tensors that share memory share a copy, so that tied weights stay tied."""
    found = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)
        if not tensor.numel() or place not in copies:
            copies[place] = tensor.detach().to("cpu", copy=True)
        found[name] = copies[place]
    return found


def _nbytes(tensors: Mapping[str, Tensor]) -> int:
    distinct = {tensor.data_ptr(): tensor.nbytes for tensor in tensors.values()}
    return sum(distinct.values())


class Checkpoints:
    """The checkpoints in a run's folder.

    Args:
        run: Folder of the run.
        keep: Number of newest checkpoints that are kept, at least 2: the newest one may turn out to be damaged.

    Raises:
        ValueError: `keep` is below 2.
    """

    def __init__(self, run: Path, keep: int = 2) -> None:
        if keep < 2:
            raise ValueError(
                f"keep must be at least 2, since the newest checkpoint may be damaged (got {keep})."
            )
        self.folder, self.keep = run / CHECKPOINTS, keep

    def path(self, steps: int) -> Path:
        """Folder of the checkpoint after this number of updates."""
        return self.folder / f"step-{steps:08d}"

    @property
    def steps(self) -> list[int]:
        """Numbers of updates after which there is a checkpoint, in ascending order."""
        if not self.folder.is_dir():
            return []
        found = set()
        for path in self.folder.iterdir():
            name = _NAME.fullmatch(path.name)
            if name and path.is_dir():
                found.add(int(name[1]))
        return sorted(found)

    def write(self, snapshot: Snapshot) -> None:
        """Writes a checkpoint, then removes older ones beyond `keep`, except for the best.

        Raises:
            CheckpointError: the disk is full, or the folder cannot be written; older checkpoints are unharmed.
        """
        path = self.path(snapshot.steps)
        checkpoint.write_folder(path, {STATE: snapshot.tensors}, {STATE: snapshot.document})
        self._remove_older(snapshot.best)

    def _remove_older(self, best: int | None) -> None:
        # Only now is the new one on disk, and older ones can go.
        kept = {*self.steps[-self.keep :], best}
        for steps in self.steps:
            if steps not in kept:
                checkpoint.remove(self.path(steps))

    # The shares of several processes.

    def _shared_path(self, steps: int) -> Path:
        """The folder that all processes write into, before it is complete."""
        path = self.path(steps)
        return path.with_name(f".{path.name}.tmp-shares")

    def begin(self, steps: int) -> None:
        """Makes the folder for the shares of all processes; called by the first one before the others write."""
        path = self._shared_path(steps)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)

    def write_share(self, snapshot: Snapshot, rank: int, size: int) -> None:
        """Writes the share of one process.

        Args:
            snapshot: Its share of the state.
            rank: Number of the process.
            size: Number of processes.

        Raises:
            CheckpointError: the disk is full, or the folder cannot be written.
        """
        folder, name = self._shared_path(snapshot.steps), sharded_files.file_name(STATE, rank, size)
        tensors = dict(snapshot.tensors)
        if rank:  # the first process counts for all
            tensors.pop("seen", None)
        try:
            checkpoint.write_entry(folder, name, tensors)
        except CheckpointError as error:
            with contextlib.suppress(OSError):  # the first process then waits until its time is over
                checkpoint.write_failure(folder, name, str(error))
            raise

    def gathered(self, steps: int, size: int, patience: float) -> ShardedTensors:
        """The shares of all processes, as soon as they are on disk; called by the first process.

        Args:
            steps: Number of updates.
            size: Number of processes.
            patience: Maximum time to wait, in seconds.

        Raises:
            CheckpointError: a process could not write its share, or not in time.
        """
        folder = self._shared_path(steps)
        names = [sharded_files.file_name(STATE, rank, size) for rank in range(size)]
        end = time.monotonic() + patience
        while True:
            entries = [checkpoint.entry_of(folder, name) for name in names]
            missing = [name for name, entry in zip(names, entries, strict=True) if entry is None]
            if not missing:
                break
            if time.monotonic() > end:
                raise CheckpointError(
                    f"{folder}: {', '.join(missing[:5])} was not written within {patience:g} s; another process stopped, or "
                    "its disk is slow. Older checkpoints are unharmed."
                )
            time.sleep(_POLL)

        aliases = [entry["aliases"] for entry in entries if entry is not None]
        return ShardedTensors([folder / name for name in names], aliases)

    def complete(self, snapshot: Snapshot, size: int) -> ShardedTensors:
        """Moves the folder with all shares into place, then removes older checkpoints as `write` does.

        Returns the shares in their new place.

        Args:
            snapshot: The share of the first process.
            size: Number of processes.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        names = [sharded_files.file_name(STATE, rank, size) for rank in range(size)]
        folder, path = self._shared_path(snapshot.steps), self.path(snapshot.steps)
        checkpoint.finish_folder(folder, path, names, {STATE: snapshot.document})
        self._remove_older(snapshot.best)
        return _shares(path, [path / name for name in names], is_checked=False)

    def discard(self, steps: int) -> None:
        """Removes the folder with the shares of all processes, if it was not moved into place."""
        shutil.rmtree(self._shared_path(steps), ignore_errors=True)
        with contextlib.suppress(OSError):  # it holds checkpoints
            self.folder.rmdir()

    # Reading.

    def read(self, steps: int, *, is_checked: bool = True) -> State:
        """The state after this number of updates; the tensors of several files are read when they are asked for.

        Args:
            steps: Number of updates.
            is_checked: Whether to compare the SHA-256 of several files; one file always is.

        Raises:
            CheckpointError: there is none, or it is damaged.
        """
        path = self.path(steps)
        document = checkpoint.read_document(path, STATE)
        paths = sharded_files.files_of(files.whole(path), STATE)
        if paths:
            return State.of(document, _shares(path, paths, is_checked=is_checked))
        return State.of(document, checkpoint.read_weights(path, name=STATE))

    def newest(self) -> State | None:
        """The newest state that is intact; None if there are no checkpoints.

        Raises:
            CheckpointError: there are checkpoints, but all of them are damaged.
        """
        reasons = []
        for steps in reversed(self.steps):
            try:
                return self.read(steps)
            except CheckpointError as error:
                logger.warning("%s: skipped, using the one before it: %s", self.path(steps), error)
                reasons.append(f"\n  {error}")

        if not reasons:
            return None
        raise CheckpointError(
            f"{self.folder}: none of its {len(reasons)} checkpoints can be read. Restore one of them, or start again with "
            f"--overwrite (overwrite=True).{''.join(reasons)}"
        )

    def remove(self) -> None:
        """Removes all checkpoints, and the folder if nothing else is in it."""
        for steps in self.steps:
            checkpoint.remove(self.path(steps))
        self.tidy()
        with contextlib.suppress(OSError):  # missing, or it holds files that are not ours
            self.folder.rmdir()

    def tidy(self) -> None:
        """Removes what killed writers left behind. The caller holds the lock of the run's folder."""
        for left in [*self.folder.glob(".step-*.tmp-*"), *self.folder.parent.glob(".checkpoint.tmp-*")]:
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)


def _shares(folder: Path, paths: Sequence[Path], *, is_checked: bool) -> ShardedTensors:
    """The tensors in the files of a complete checkpoint."""
    aliases = [checkpoint.read_aliases(folder, one.name, is_checked=is_checked) for one in paths]
    return ShardedTensors(paths, aliases)


def weight_names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The names under which a state has the weights to load, by their names in the model: averages where there are any."""
    found = {}
    for stored in tensors:
        group, _, name = stored.partition("/")
        if group == "model":
            average = f"optimizer/{name}/{AVERAGE}"
            found[name] = average if average in tensors else stored
    return found


def check_space(folder: Path, needed: int) -> None:
    """Checks the free space on the disk of a folder.

    Args:
        folder: The folder, which need not exist.
        needed: Bytes that are to be written.

    Raises:
        CheckpointError: there is less.
    """
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise CheckpointError(
            f"{folder}: a checkpoint needs {needed:,} bytes and {free:,} are free. Free some space, or choose a folder on "
            "another disk; existing files are unchanged."
        )


class Saver:
    """Writes checkpoints in a thread, one at a time, while training continues; a context manager.

    A checkpoint that cannot be written is reported and does not stop training, which would lose more; the last one must
    succeed.

    Args:
        folder: Folder of the run, for the free space.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def save(self, snapshot: Snapshot, write: Callable[[Snapshot], None]) -> None:
        """Starts a thread that writes a snapshot, once the one before it is on disk."""
        self._join()
        self._error = None
        # A daemon, so that a second stop signal ends the process at once; a half-written folder is never put in place.
        self._thread = threading.Thread(
            target=self._run, args=(snapshot, write), name="checkpoint", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Waits until the thread has ended. If its checkpoint was not saved, that does not matter any more."""
        self._join()
        self._error = None

    def finish(self) -> None:
        """Waits until the last snapshot is on disk.

        Raises:
            CheckpointError, OSError: it could not be written.
        """
        self._join()
        if self._error is not None:
            raise self._error

    def _run(self, snapshot: Snapshot, write: Callable[[Snapshot], None]) -> None:
        try:
            check_space(self._folder, snapshot.nbytes)
            write(snapshot)
        except Exception as error:  # it must not end in a traceback of a thread that nobody waits for
            self._error = error
            logger.error("checkpoint after step %s not saved; training continues: %s", snapshot.steps, error)

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second stop signal raises SystemExit, and must not wait for the disk.
        if kind is None or not issubclass(kind, SystemExit):
            self._join()


def space_for(model: nn.Module, keep: int, *, has_averages: bool = False) -> tuple[int, int]:
    """Bytes that the checkpoints of a run take: at least, for the first one, and at most, while one is written.

    Args:
        model: The model before its first stage.
        keep: Number of checkpoints to keep.
        has_averages: Whether they have averages of the weights too.
    """
    weights = sum(value.nbytes for value in model.state_dict().values())
    trained = sum(one.numel() for one in model.parameters())
    copies = 3 if has_averages else 2  # AdamW has two moments; Muon has one
    state = weights + copies * trained * torch.float32.itemsize
    return state + weights, (keep + 2) * state + 2 * weights
