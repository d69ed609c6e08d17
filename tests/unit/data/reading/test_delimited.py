"""Rows of delimited text against Python's own reader, and the bytes that each takes up."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightweave.data.reading import delimited, row_files
from sightweave.data.reading.delimited import Extent, UnclosedQuote, cells_of, delimiter_of


def extents(data: bytes, delimiter: str = ",", max_bytes: int = 1 << 20) -> list[Extent]:
    return list(delimited.extents(row_files.lines(io.BytesIO(data), 1 << 20), delimiter, max_bytes=max_bytes))


CELL = st.text(st.sampled_from('ab"\r\n,\t 15\u72d7'), max_size=6)


WAYS = [("\r\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL), ("\n", csv.QUOTE_ALL)]


@given(st.lists(st.lists(CELL, min_size=2, max_size=3), max_size=6), st.sampled_from(WAYS))
def test_what_csv_writes_is_read_and_every_byte_has_its_row(rows: list[list[str]], way: Any) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=way[0], quoting=way[1]).writerows(rows)
    data = out.getvalue().encode()
    found = extents(data)
    assert [[cell.decode() for cell in row.cells] for row in found if isinstance(row.cells, list)] == rows
    assert b"".join(data[row.start : row.end] for row in found) == data
    assert [row.line for row in found] == [1 + data[: row.start].count(b"\n") for row in found]


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        (b'a 15" screen,x\n', [b'a 15" screen', b"x"]),
        (b' "a",x\r\n', [b' "a"', b"x"]),
        (b'"",,"a""b"', [b"", b"", b'a"b']),
        (b"a\rb,c\r\r\n", [b"a\rb", b"c\r"]),
        (b"", [b""]),
        (b'"open\n', []),
        (b'"a"b,c\n', []),
    ],
)
def test_cells_of_one_line(line: bytes, cells: list[bytes]) -> None:
    assert cells_of(line, b",") == cells


def test_a_broken_row_ends_with_its_line() -> None:
    first, second = extents(b'"a"b,"c\nd,e\n')
    assert isinstance(first.cells, delimited.MalformedRow)
    assert (second.line, second.start, second.cells) == (2, 8, [b"d", b"e"])


@pytest.mark.parametrize("size", [1 << 20, 12])
def test_a_quote_that_is_never_closed(size: int) -> None:
    with pytest.raises(UnclosedQuote, match="never closed") as found:
        extents(b'a,b\nc,"d\ne,f\ng,h\ni,j\n', max_bytes=size)
    assert found.value.line == 2


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"image,caption", ","),
        (b"filepath\ttitle\tx,y,z", "\t"),
        (b"image,caption\t", ","),
        (b'"a\tb",c,d', ","),
        (b"image;question;answer", ";"),
        (b'image;"a, b";c', ";"),
        (b"image,caption;title", ","),
        (b"image\tcaption;title", "\t"),
        (b"image", ","),
        (b"", ","),
    ],
)
def test_the_separator_by_the_first_line(head: bytes, expected: str) -> None:
    assert delimiter_of(head) == expected


def test_a_cell_of_many_lines_with_quotes_is_read_once() -> None:
    lines = 20_000
    (row,) = extents(b'a,"' + b'""x""\n' * lines + b'"\n')
    assert isinstance(row.cells, list)
    assert row.cells[1].count(b"\n") == lines
