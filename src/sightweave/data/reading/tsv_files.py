"""Rows of tab- or comma-separated files with a head, whatever the size of their cells, such as pictures in base64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightweave.core.errors import DataError
from sightweave.data.reading import delimited, row_files
from sightweave.data.reading.row_files import MAX_LINE_BYTES, RowError

_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Record:
    """One row."""

    line: int
    """Its first line, from 1."""
    offset: int
    """Its first byte."""
    cells: dict[str, str] | RowError
    """Values by column; empty ones are left out."""


def head(path: Path, delimiter: str) -> list[str]:
    """Names of the columns; empty where the first line is no head of a text file. Never reads further."""
    try:
        with path.open("rb") as file:
            line = file.readline(_HEAD_BYTES)
        found = delimited.cells_of(line.removeprefix(row_files.BOM), delimiter.encode())
        return [cell.decode("utf-8").strip() for cell in found]
    except (OSError, UnicodeDecodeError):
        return []


def records(
    path: Path, delimiter: str, *, offset: int = 0, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[Record]:
    """All rows; or, with the `offset` of one, that row and those after it, with lines counted from there.

    Raises:
        DataError: no head, a column twice, a quote that is never closed, or the file cannot be opened.
    """
    columns = head(path, delimiter)
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if not columns or twice is not None:
        problem = (
            f"column {twice!r} appears twice" if columns else "the first line must contain the column names"
        )
        raise DataError(f"{path}:1: {problem}.")
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from None
    with file:
        file.seek(offset)
        lines = row_files.lines(file, max_line_bytes)
        try:
            for found in delimited.extents(lines, delimiter, max_bytes=max_line_bytes):
                if found.is_blank or (found.line == 1 and not offset):
                    continue
                data = found.cells
                values = _named(columns, data) if isinstance(data, list) else row_files.of_malformed(data)
                yield Record(found.line, found.start + offset, values)
        except delimited.UnclosedQuote as error:
            raise DataError(f"{path}:{error.line}: {error}") from None


def _named(columns: list[str], data: list[bytes]) -> dict[str, str] | RowError:
    if len(data) != len(columns):
        message = f"{len(data)} values for {len(columns)} columns; quote values that contain a separator."
        return RowError("bad_csv", "", len(data), message)
    found = {}
    for name, cell in zip(columns, data, strict=True):
        try:
            text = cell.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"not UTF-8: byte 0x{cell[error.start]:02x}; save the file as UTF-8."
            return RowError("bad_encoding", name, "", message)
        if text.strip():
            found[name] = text
    return found
