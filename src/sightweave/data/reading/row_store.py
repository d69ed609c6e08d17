"""Stores rows on disk and reads them back by number, which needs only sixteen bytes of memory per row."""

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
    """Stores rows as JSON, and the images that were inside them, in a temporary file that is deleted with the process.

    The file is in the folder ``TMPDIR``. It is read by position, so threads and forked processes can share it. Pickling or
    deep-copying a store copies the whole file.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="sightweave-rows-")  # noqa: SIM115  # lives as long as this
        self._starts = array("Q")
        self._ends = array("Q")
        self._end = 0
        self._hash = hashlib.sha256()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.read(0, self._end), self._starts, self._ends)

    def __del__(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        """Number of stored rows."""
        return len(self._starts)

    def append(self, values: Mapping[str, Any]) -> None:
        """Stores one row."""
        # Compact JSON is faster to write, and ASCII can represent unpaired surrogates, which fields that are not checked
        # may contain.
        data = json.dumps(values, separators=(",", ":")).encode("ascii")
        self._hash.update(data + b"\n")

        self._starts.append(self._end)
        self._write(data)
        self._ends.append(self._end)

    def keep(self, data: bytes) -> tuple[int, int]:
        """Stores the bytes of an image; returns their position and size."""
        start = self._end
        self._write(data)
        return start, len(data)

    def digest(self) -> str:
        """Hexadecimal SHA-256 of all rows stored so far."""
        return self._hash.hexdigest()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._end += len(data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The fields of one row."""
        start = self._starts[index]
        found: dict[str, Any] = json.loads(self.read(start, self._ends[index] - start))
        return found

    def read(self, start: int, size: int) -> bytes:
        """Reads `size` stored bytes from position `start`."""
        self._file.flush()
        return os.pread(self._file.fileno(), size, start)


class Kept(partial[bytes]):
    """A function that reads an image from a store. Its pickle contains the bytes of that image, not the whole store."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial, (_unchanged, self())

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        return self  # stored bytes never change


def _unchanged(data: bytes) -> bytes:
    return data


def _restored(data: bytes, starts: array[int], ends: array[int]) -> Store:
    """Restores a pickled or copied store, in a new temporary file."""
    store = Store()
    for start, end in zip(starts, ends, strict=True):
        store._hash.update(data[start:end] + b"\n")

    store._starts, store._ends = starts, ends
    store._write(data)
    return store
