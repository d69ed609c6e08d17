"""Rows of tab- or comma-separated files with a head, whatever the size of their cells.

Python's own reader stops at cells of 128 KiB, a limit of the whole process that a library must not change; a picture in
base64 is larger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sightweave.core.errors import DataError
from sightweave.data.datasets import _rows
from sightweave.data.datasets._rows import MAX_LINE_BYTES, RowError

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
        found = _split(line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n"), delimiter.encode())
        return [cell.decode("utf-8").strip() for cell in found or ()]
    except (OSError, UnicodeDecodeError, RowError):
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
        problem = f"column {twice!r} stands twice" if columns else "the first line must name the columns"
        raise DataError(f"{path}:1: {problem}.")
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}).") from None
    with file:
        file.seek(offset)
        for number, start, data in _whole(path, file, delimiter.encode(), max_line_bytes):
            if number == 1 and not offset:
                continue
            if isinstance(data, RowError):
                yield Record(number, start + offset, data)
            elif any(data):
                yield Record(number, start + offset, _named(columns, data))


def _named(columns: list[str], data: list[bytes]) -> dict[str, str] | RowError:
    if len(data) != len(columns):
        message = f"{len(data)} values for {len(columns)} columns; quote values that hold a separator."
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


def _whole(
    path: Path, file: BinaryIO, delimiter: bytes, max_line_bytes: int
) -> Iterator[tuple[int, int, list[bytes] | RowError]]:
    """Rows whose quoted cells may span lines."""
    held: list[bytes] = []
    first = start = 0
    for number, offset, line in _rows._lines(file, max_line_bytes):
        if not held:
            first, start = number, offset
        if isinstance(line, RowError):
            if held:
                raise DataError(
                    f"{path}:{first}: a quote is opened here, and line {number} is too long: {line}"
                )
            yield number, offset, line
            continue
        held.append(line)
        if len(held) > 1 and b'"' not in line:
            continue  # inside quotes, and they go on
        data = b"".join(held)
        if len(data) > max_line_bytes:
            break
        try:
            cells = _split(data.rstrip(b"\r\n") if data.endswith(b"\n") else data, delimiter)
        except RowError as error:
            held = []
            yield first, start, error
            continue
        if cells is not None:
            held = []
            yield first, start, cells
    if held:
        raise DataError(f"{path}:{first}: a quote is opened in this row and never closed.")


def _split(data: bytes, delimiter: bytes) -> list[bytes] | None:
    """Cells of a row; None where it ends inside quotes.

    Raises:
        RowError: something stands between a closing quote and the next cell.
    """
    if b'"' not in data:
        return data.split(delimiter)
    cells: list[bytes] = []
    at = 0
    while True:
        if data[at : at + 1] == b'"':
            pieces: list[bytes] = []
            at += 1
            while True:
                end = data.find(b'"', at)
                if end < 0:
                    return None
                pieces.append(data[at:end])
                at = end + 1
                if data[at : at + 1] != b'"':
                    break
                pieces.append(b'"')
                at += 1
            if at < len(data) and data[at : at + 1] != delimiter:
                raise RowError("bad_csv", "", "", f"text after a closing quote in column {len(cells) + 1}.")
            cells.append(b"".join(pieces))
        else:
            end = data.find(delimiter, at)
            end = len(data) if end < 0 else end
            cells.append(data[at:end])
            at = end
        if at >= len(data):
            return cells
        at += 1
