"""Rows on disk: a data set of any size takes eight bytes of memory a row, and is read back by number."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from array import array
from collections.abc import Mapping
from functools import partial
from typing import Any


class Store:
    """Rows as JSON, and pictures that came inside rows, in a temporary file that ends with the process.

    The file lies where ``TMPDIR`` says. It is read by position, so threads and forked processes may share it. A pickle or
    a deep copy holds all of it.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="sightweave-rows-")  # noqa: SIM115  # lives as long as this
        self._starts = array("Q")
        self._ends = array("Q")
        self._end = 0
        self._hash = hashlib.sha256()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.read(0, self._end), self._starts, self._ends)

    def __del__(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._starts)

    def append(self, values: Mapping[str, Any]) -> None:
        """Keeps one row."""
        # Twice as fast as JSON with indents; ASCII, so that half a surrogate pair in an unread field does no harm.
        data = json.dumps(values, separators=(",", ":")).encode("ascii")
        self._hash.update(data + b"\n")
        self._starts.append(self._end)
        self._write(data)
        self._ends.append(self._end)

    def keep(self, data: bytes) -> tuple[int, int]:
        """Keeps the bytes of a picture, and says where."""
        start = self._end
        self._write(data)
        return start, len(data)

    def digest(self) -> str:
        """SHA-256 of all rows so far."""
        return self._hash.hexdigest()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._end += len(data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One row."""
        start = self._starts[index]
        found: dict[str, Any] = json.loads(self.read(start, self._ends[index] - start))
        return found

    def read(self, start: int, size: int) -> bytes:
        """Bytes that were kept."""
        self._file.flush()
        return os.pread(self._file.fileno(), size, start)


class Kept(partial[bytes]):
    """Reads a picture that a store keeps. A pickle of it holds that picture's bytes, and not all of the store."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial, (_itself, self())

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        return self  # what was kept never changes


def _itself(data: bytes) -> bytes:
    return data


def _again(data: bytes, starts: array[int], ends: array[int]) -> Store:
    """What was pickled or copied, in a file of its own."""
    store = Store()
    for start, end in zip(starts, ends, strict=True):
        store._hash.update(data[start:end] + b"\n")
    store._starts, store._ends = starts, ends
    store._write(data)
    return store
