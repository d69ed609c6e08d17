"""Tables with a head against Python's own reader, and what that one cannot do."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from sightweave.core.errors import DataError
from sightweave.data.reading import tsv_files
from sightweave.data.reading.row_files import RowError


def table(folder: Path, text: str) -> Path:
    (folder / "a.tsv").write_bytes(text.encode())
    return folder / "a.tsv"


@pytest.mark.parametrize("delimiter", ["\t", ","])
def test_cells_are_those_that_csv_reads(tmp_path: Path, delimiter: str) -> None:
    rows = [
        {"a": 'He said "no".', "b": "two\nlines\n\nand more", "c": "x"},
        {"a": "tab\there, and a comma", "b": '"', "c": "\u72d7"},
        {"a": "last", "b": "x", "c": 'ends "so"'},
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, "abc", delimiter=delimiter, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    path = table(tmp_path, "\ufeff" + out.getvalue())
    assert tsv_files.head(path, delimiter) == ["a", "b", "c"]
    found = list(tsv_files.records(path, delimiter))
    assert [record.cells for record in found] == rows
    assert [record.line for record in found] == [2, 6, 7]
    again = next(tsv_files.records(path, delimiter, offset=found[1].offset))
    assert again.cells == rows[1]


def test_empty_cells_and_blank_lines_are_left_out(tmp_path: Path) -> None:
    found = list(tsv_files.records(table(tmp_path, "a\tb\n\n1\t\n\t2"), "\t"))
    assert [(record.line, record.cells) for record in found] == [(3, {"a": "1"}), (4, {"b": "2"})]


def test_a_long_cell_is_read_and_the_limit_of_csv_stays(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    (record,) = tsv_files.records(table(tmp_path, "a\tb\n" + "x" * 300_000 + "\t2\n"), "\t")
    assert not isinstance(record.cells, RowError)
    assert len(record.cells["a"]) == 300_000
    assert csv.field_size_limit() == before


def test_a_line_that_is_too_long_is_a_fault(tmp_path: Path) -> None:
    path = table(tmp_path, "a\tb\n" + "x" * 5000 + "\t2\n3\t4\n")
    bad, good = tsv_files.records(path, "\t", max_line_bytes=1000)
    assert isinstance(bad.cells, RowError)
    assert (bad.line, bad.cells.code) == (2, "line_too_long")
    assert good.cells == {"a": "3", "b": "4"}


@pytest.mark.parametrize(("line", "code"), [("1\t2\t3", "bad_csv"), ('"1"x\t2', "bad_csv"), ("1", "bad_csv")])
def test_a_row_of_another_shape_is_a_fault(tmp_path: Path, line: str, code: str) -> None:
    bad, good = tsv_files.records(table(tmp_path, f"a\tb\n{line}\n1\t2\n"), "\t")
    assert isinstance(bad.cells, RowError)
    assert (bad.line, bad.cells.code, good.cells) == (2, code, {"a": "1", "b": "2"})


def test_other_encodings_are_a_fault_of_the_row(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("a\tb\nh\u00e9\tx\n".encode("latin-1"))
    (bad,) = tsv_files.records(tmp_path / "a.tsv", "\t")
    assert isinstance(bad.cells, RowError)
    assert (bad.cells.code, bad.cells.field) == ("bad_encoding", "a")


def test_a_quote_that_is_never_closed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.tsv:3: a quote is opened in this row and never closed"):
        list(tsv_files.records(table(tmp_path, 'a\tb\n1\t2\n3\t"4\n5\t6\n'), "\t"))


def test_a_file_without_a_usable_head_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.tsv:1: column 'a' appears twice"):
        list(tsv_files.records(table(tmp_path, "a\ta\n1\t2\n"), "\t"))
    (tmp_path / "a.tsv").write_bytes(b"\xff\xfe\x00")
    assert tsv_files.head(tmp_path / "a.tsv", "\t") == []
    with pytest.raises(DataError, match="first line must contain the column names"):
        list(tsv_files.records(tmp_path / "a.tsv", "\t"))
