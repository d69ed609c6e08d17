"""Reads tab- or comma-separated files with a header and cells of any size, such as images in base64."""

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
    """A row of a delimited file."""

    line: int
    """Number of the row's first line, counted from 1 or from the offset at which reading started."""
    offset: int
    """Position of the row's first byte in the file."""
    cells: dict[str, str] | RowError
    """Non-empty cells by column, or the error in the row."""


def head(path: Path, delimiter: str) -> list[str]:
    """Reads the column names from a file's first line; empty if the file cannot be read or the line is not UTF-8."""
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
    """Yields the rows of a delimited file with a header.

    Args:
        path: Path of the file.
        delimiter: The character between cells.
        offset: Byte position of the row to start from; lines are then counted from there. 0 means the first row.
        max_line_bytes: Maximum size of a line or row in bytes.

    Raises:
        DataError: The header is missing or has a duplicate column, a quote is never closed, or the file cannot be opened.
    """
    # The header must name each column once.
    columns = head(path, delimiter)
    if not columns:
        raise DataError(f"{path}:1: the first line must contain the column names.")
    duplicate = next((name for name in columns if columns.count(name) > 1), None)
    if duplicate is not None:
        raise DataError(f"{path}:1: column {duplicate!r} appears twice; column names must be unique.")

    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from None

    # Read the rows from the offset on, skipping the header.
    with file:
        file.seek(offset)
        lines = row_files.lines(file, max_line_bytes)
        try:
            for found in delimited.extents(lines, delimiter, max_bytes=max_line_bytes):
                if found.is_blank or (found.line == 1 and not offset):
                    continue
                cells = found.cells
                values = (
                    _by_column(columns, cells) if isinstance(cells, list) else row_files.of_malformed(cells)
                )
                yield Record(found.line, found.start + offset, values)
        except delimited.UnclosedQuote as error:
            raise DataError(f"{path}:{error.line}: {error}") from None


def _by_column(columns: list[str], cells: list[bytes]) -> dict[str, str] | RowError:
    if len(cells) != len(columns):
        message = f"{len(cells)} values for {len(columns)} columns; quote values that contain a separator."
        return RowError("bad_csv", "", len(cells), message)

    found = {}
    for name, cell in zip(columns, cells, strict=True):
        try:
            text = cell.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"not UTF-8: byte 0x{cell[error.start]:02x}; save the file as UTF-8."
            return RowError("bad_encoding", name, "", message)
        if text.strip():
            found[name] = text
    return found
