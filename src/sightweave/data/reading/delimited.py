"""Splits delimited text, such as CSV and TSV, into rows with their positions in the file (RFC 4180).

All code that reads such files or removes rows from them uses this module, so that it agrees on what a row is. A quote
opens a cell only at the cell's start; elsewhere it is an ordinary character, as in ``a 15" screen``. Only a line feed
ends a line, with or without a carriage return before it. Reading takes time linear in the size of the file, and cells may
have any size: Python's own reader stops at 128 KiB, a limit of the whole process that a library must not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_QUOTE = b'"'


class MalformedRow(ValueError):
    """There is text between a closing quote and the next cell."""


class UnclosedQuote(ValueError):
    """A quote is opened in a row and never closed, so nothing after it can be trusted.

    Args:
        line: Number of the row's first line.
    """

    def __init__(self, line: int) -> None:
        super().__init__("a quote opened in this row is never closed.")
        self.line = line


@dataclass(frozen=True, slots=True)
class Extent:
    """One row and its position in the file."""

    line: int
    """Number of its first line, from 1."""
    start: int
    """Position of its first byte."""
    end: int
    """Position after its last byte, the line feed included."""
    cells: list[bytes] | ValueError
    """Its cells, or the error in it."""

    @property
    def is_blank(self) -> bool:
        """Whether all of its cells are empty."""
        return isinstance(self.cells, list) and not any(map(bytes.strip, self.cells))


def delimiter_of(head: bytes) -> str:
    """The delimiter of a file by its first line: the tab, comma or semicolon that gives the most columns with a name.

    Spreadsheets write semicolons in countries with a decimal comma, such as most of Europe.
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
    """Yields the rows of a file; a quoted cell may span lines.

    Args:
        lines: Number, position in bytes, and content of each line with its line end, or the reason it was not read.
        delimiter: The character between cells.
        max_bytes: Maximum size of a row; in a longer one, a quote was almost certainly never closed.

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
            # Its size is not known here. Code that removes rows reads whole files, which have no such lines.
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
    """A row that is being read line by line."""

    def __init__(self, delimiter: bytes) -> None:
        self.cells: list[bytes] = []
        self._delimiter = delimiter
        self._quoted: list[bytes] | None = None
        """Pieces of the quoted cell that is open; None if there is none."""

    def add(self, line: bytes) -> bool:
        """Adds the next line; returns whether the row ends with it.

        Raises:
            MalformedRow: There is text between a closing quote and the next cell.
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

            # A quoted cell ends at its closing quote, perhaps in a later line.
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
        """Position after the closing quote of a quoted cell; None if this line does not close it."""
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
            self._quoted.append(_QUOTE)  # two quotes in a quoted cell are one character
            at += 1
