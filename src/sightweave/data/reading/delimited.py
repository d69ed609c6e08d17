"""Delimited text, such as CSV and TSV: its rows, with the lines and bytes that each takes up (RFC 4180).

Every reader of such files goes through this module, and so does whoever takes rows out of them: what a row is, is decided
in one place. A quote opens a cell only at the cell's start; elsewhere it is an ordinary character, as in ``a 15" screen``.
Only a line feed ends a line, with or without a carriage return before it. Reading takes time linear in the file's size,
and no cell is too large: Python's own reader stops at 128 KiB, a limit of the whole process that a library must not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_QUOTE = b'"'


class MalformedRow(ValueError):
    """Something stands between a closing quote and the next cell."""


class UnclosedQuote(ValueError):
    """A quote is opened in a row and never closed, so nothing after it can be trusted.

    Args:
        line: First line of that row.
    """

    def __init__(self, line: int) -> None:
        super().__init__("a quote opened in this row is never closed.")
        self.line = line


@dataclass(frozen=True, slots=True)
class Extent:
    """One row and where it stands."""

    line: int
    """Its first line, counted from 1."""
    start: int
    """Its first byte."""
    end: int
    """The byte after its last one, which is that of the line's end."""
    cells: list[bytes] | ValueError
    """Its cells, or why it has none."""

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing in it."""
        return isinstance(self.cells, list) and not any(map(bytes.strip, self.cells))


def delimiter_of(head: bytes) -> str:
    """The separator of a file by its first line: what gives the most columns with a name, of a tab, a comma and a semicolon.

    Spreadsheets write semicolons where a comma stands in numbers, as in most of Europe.
    """

    def named(separator: bytes) -> int:
        cells = cells_of(head, separator)
        return sum(bool(cell.strip()) for cell in cells)

    found = "\t" if b"\t" in head and named(b"\t") >= named(b",") else ","
    return ";" if named(b";") > named(found.encode()) else found


def cells_of(line: bytes, delimiter: bytes) -> list[bytes]:
    """The cells of one line; none where they are not well formed or go on in the next one."""
    open_row = _OpenRow(delimiter)
    try:
        return open_row.cells if open_row.add(line) else []
    except MalformedRow:
        return []


def extents(
    lines: Iterable[tuple[int, int, bytes | ValueError]], delimiter: str, *, max_bytes: int
) -> Iterator[Extent]:
    """The rows of a file; a quoted cell may span lines.

    Args:
        lines: Number, first byte and content of each line, its end included; or why a line was not read.
        delimiter: One character between cells.
        max_bytes: Size of a row; in a longer one, a quote was surely never closed.

    Raises:
        UnclosedQuote: as its name says.
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
            # Its size is not known here; who takes rows out reads whole files, which have no such lines.
            yield Extent(number, offset, offset, line)
            continue

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
    """A row that is read line by line."""

    def __init__(self, delimiter: bytes) -> None:
        self.cells: list[bytes] = []
        self._delimiter = delimiter
        self._quoted: list[bytes] | None = None
        """Pieces of the quoted cell that is open, if one is."""

    def add(self, line: bytes) -> bool:
        """Takes the next line, and says whether the row ends with it.

        Raises:
            MalformedRow: as its name says.
        """
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        at = 0
        while True:
            if self._quoted is None and body[at : at + 1] != _QUOTE:
                end = body.find(self._delimiter, at)
                if end < 0:
                    self.cells.append(body[at:])
                    return True
                self.cells.append(body[at:end])
                at = end + 1
                continue

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
        """The place after the closing quote of a quoted cell; None where this line does not close it."""
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
            if body[at : at + 1] != _QUOTE:  # two quotes stand for one
                self.cells.append(b"".join(self._quoted))
                self._quoted = None
                return at
            self._quoted.append(_QUOTE)
            at += 1
