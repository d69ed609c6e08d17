"""Rows on disk: a data set of any size takes eight bytes of memory a row, and is read back by number."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from array import array
from collections.abc import Mapping
from typing import Any


class Store:
    """Rows as JSON, and pictures that came inside rows, in a temporary file that ends with the process.

    The file lies where ``TMPDIR`` says. It is read by position, so threads and forked processes may share it.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="sightweave-rows-")  # noqa: SIM115  # lives as long as this
        self._starts = array("Q")
        self._ends = array("Q")
        self._end = 0
        self._hash = hashlib.sha256()

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
