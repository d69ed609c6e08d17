"""Splits delimited text, such as CSV and TSV, into rows with their positions in the file (RFC 4180).

All code that reads such files or removes rows from them uses this module, so that rows are always delimited in the same way.
A quotation mark opens a quoted cell only at the start of the cell; elsewhere it is an ordinary character, as in
``a 15" screen``. A line ends with a line feed, which may follow a carriage return. Reading takes time linear in the size of
the file, and cells may have any size. Python's csv module limits cells to 128 KiB, and the limit is global to the process,
so a library should not change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_QUOTE = b'"'


class MalformedRow(ValueError):
    """A row has text between a closing quote and the next delimiter."""


class UnclosedQuote(ValueError):
    """A quote that a row opens is never closed, so the rest of the file cannot be split into rows.

    Args:
        line: Line number at which the row starts.
    """

    def __init__(self, line: int) -> None:
        super().__init__("a quote opened in this row is never closed.")
        self.line = line


@dataclass(frozen=True, slots=True)
class Extent:
    """A row of delimited text and its position in the file."""

    line: int
    """Number of the row's first line, counted from 1."""
    start: int
    """Position of the row's first byte."""
    end: int
    """Position after the row's last byte, including the line feed."""
    cells: list[bytes] | ValueError
    """The cells of the row, or an error if it cannot be read."""

    @property
    def is_blank(self) -> bool:
        """Whether all cells of the row are empty."""
        return isinstance(self.cells, list) and not any(map(bytes.strip, self.cells))


def delimiter_of(head: bytes) -> str:
    """Detects a file's delimiter from its first line: the tab, comma or semicolon that gives the most non-empty names.

    Spreadsheet programs write semicolons in countries with a decimal comma, such as most of Europe.
    """

    def num_names(separator: bytes) -> int:
        cells = cells_of(head, separator)
        return sum(bool(cell.strip()) for cell in cells)

    found = "\t" if b"\t" in head and num_names(b"\t") >= num_names(b",") else ","
    return ";" if num_names(b";") > num_names(found.encode()) else found


def cells_of(line: bytes, delimiter: bytes) -> list[bytes]:
    """The cells of one line; an empty list if they are malformed or continue in the next line."""
    open_row = _OpenRow(delimiter)
    try:
        return open_row.cells if open_row.add(line) else []
    except MalformedRow:
        return []


def extents(
    lines: Iterable[tuple[int, int, bytes | ValueError]], delimiter: str, *, max_bytes: int
) -> Iterator[Extent]:
    """Splits the lines of a file into rows and yields them; a quoted cell may span several lines.

    Args:
        lines: Number and byte position of each line, and its content with the line end, or an error if it was not read.
        delimiter: The character between cells.
        max_bytes: Maximum size of a row in bytes; a longer row almost certainly has a quote that is never closed.

    Raises:
        UnclosedQuote: A quote is never closed.
    """
    separator = delimiter.encode()
    open_row: _OpenRow | None = None
    first = start = 0
    for number, offset, line in lines:
        if open_row is None:
            first, start = number, offset

        if isinstance(line, ValueError):
            if open_row is not None:
                break
            # The size of an unread line is unknown, so the extent is empty. Code that removes rows reads all lines.
            yield Extent(number, offset, offset, line)
            continue

        # Add the line to the row that is open, and yield the row once it is complete.
        open_row = open_row or _OpenRow(separator)
        end = offset + len(line)
        cells: list[bytes] | ValueError = open_row.cells
        try:
            is_whole = open_row.add(line)
        except MalformedRow as error:
            is_whole, cells = True, error
        if is_whole:
            open_row = None
            yield Extent(first, start, end, cells)
        elif end - start > max_bytes:
            break

    if open_row is not None:
        raise UnclosedQuote(first)


class _OpenRow:
    """A row to which lines are added until it is complete."""

    def __init__(self, delimiter: bytes) -> None:
        self.cells: list[bytes] = []
        self._delimiter = delimiter
        self._quoted: list[bytes] | None = None
        """Pieces of the quoted cell that is currently open; None if no quote is open."""

    def add(self, line: bytes) -> bool:
        """Adds the next line; returns whether the row is now complete.

        Raises:
            MalformedRow: There is text between a closing quote and the next delimiter.
        """
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        at = 0
        while True:
            # An unquoted cell ends at the next delimiter.
            if self._quoted is None and body[at : at + 1] != _QUOTE:
                end = body.find(self._delimiter, at)
                if end < 0:
                    self.cells.append(body[at:])
                    return True
                self.cells.append(body[at:end])
                at = end + 1
                continue

            # A quoted cell ends at its closing quote, which may be on a later line.
            after = self._read_quoted(body, at)
            if after is None:
                assert self._quoted is not None
                self._quoted.append(line[len(body) :])
                return False
            if after == len(body):
                return True
            if body[after : after + 1] != self._delimiter:
                raise MalformedRow(f"text after a closing quote in column {len(self.cells)}.")
            at = after + 1

    def _read_quoted(self, body: bytes, at: int) -> int | None:
        """Reads a quoted cell; returns the position after its closing quote, or None if this line does not close it."""
        if self._quoted is None:
            self._quoted = []
            at += 1

        while True:
            end = body.find(_QUOTE, at)
            if end < 0:
                self._quoted.append(body[at:])
                return None
            self._quoted.append(body[at:end])
            at = end + 1

            if body[at : at + 1] != _QUOTE:
                self.cells.append(b"".join(self._quoted))
                self._quoted = None
                return at
            self._quoted.append(_QUOTE)  # inside a quoted cell, two quotes stand for one
            at += 1
