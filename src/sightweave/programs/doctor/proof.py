"""Verifies, with the reader of the dataset, that a copy lacks exactly the rows that were to be removed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sightweave.core.errors import DataError
from sightweave.data.reading.image_paths import Inside, Slice
from sightweave.data.reading.row_files import Row, RowError
from sightweave.data.reading.source import FilesConfig

Place = tuple[str, int]
"""A file and the number of a row in it."""


def prove(source: FilesConfig, copy: Path, gone: Collection[Place]) -> None:
    """Checks, by reading both in parallel, that the copy has all remaining rows, unchanged and in order.

    Args:
        source: The original dataset.
        copy: The folder of the copy, or its file if the dataset is a single file.
        gone: Every row that was to be removed.

    Raises:
        DataError: the copy has other rows, or cannot be read.
    """
    gone = frozenset(gone)
    after = dataclasses.replace(source, path=str(copy))
    kept = (row for row in source.rows("") if not gone.intersection(_places(row, source)))
    first = next(kept, None)
    if first is None:  # all rows were removed
        return

    problem = ""
    try:
        copied = after.rows("")
        for mine, other in zip_longest(_chained(first, kept), copied):
            if mine is None:
                problem = f"row {other.line} of {Path(other.file).name} should not be there"
            elif other is None or _digest(mine, source) != _digest(other, after):
                problem = f"row {mine.line} of {Path(mine.file or source.path).name} has changed"
            if problem:
                break
    except DataError as error:
        problem = str(error).rstrip(".").replace(str(copy), source.path)

    if problem:
        raise DataError(
            f"--fix: the copy was read back and does not match the data without the removed rows: {problem}. "
            "It was deleted; remove these rows by hand, or give the folder that contains all files of the data."
        )


def _chained(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _places(row: Row, source: FilesConfig) -> tuple[Place, ...]:
    return row.places or ((row.file or source.path, row.line),)


def _digest(row: Row, source: FilesConfig) -> bytes:
    """A digest of a row without its id, because some readers derive the id from the row's number, which changes."""
    values = row.values
    if isinstance(values, Mapping):
        values = {key: value for key, value in values.items() if key != "id"}

    path = Path(source.path).expanduser()
    mark = hashlib.blake2b(digest_size=16)
    for piece in _pieces(values, f"{path if path.is_dir() else path.parent}/"):
        mark.update(len(piece).to_bytes(8, "big") + piece)
    return mark.digest()


def _pieces(value: Any, home: str) -> Iterator[bytes]:
    """Yields the pieces of a value as bytes; paths are relative to the dataset, and images are replaced by their content."""
    if isinstance(value, Mapping):
        yield b"mapping %d" % len(value)
        for key, one in value.items():
            yield from _pieces(key, home)
            yield from _pieces(one, home)
    elif isinstance(value, list | tuple):
        yield b"list %d" % len(value)
        for one in value:
            yield from _pieces(one, home)
    elif isinstance(value, Slice):
        yield value()
    elif isinstance(value, Inside):
        yield value.data
    elif isinstance(value, RowError):
        yield from _pieces((value.code, value.field, value.value), home)
    elif isinstance(value, str):
        yield value.removeprefix(home).encode("utf-8", "surrogatepass")
    else:
        yield repr(value).encode("utf-8", "surrogatepass")
