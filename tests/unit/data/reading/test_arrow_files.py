"""Parquet and Arrow files, whole, damaged, and made to do harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightweave.core.errors import DataError
from sightweave.data.reading import arrow_files
from sightweave.data.reading.row_files import RowError

ROWS = [{"name": f"n{i}", "count": i, "data": bytes([i]) * 50} for i in range(10)]


def parquet(folder: Path, rows: list[dict[str, Any]] = ROWS, **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet", row_group_size=4, **options)
    return folder / "a.parquet"


def arrow(file: Path, table: pa.Table, *, stream: bool = True) -> Path:
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(file), "wb") as sink, make(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return file


def read(path: Path) -> list[Any]:
    return [values for _, values in arrow_files.rows(path)]


def test_all_three_forms_give_the_same_rows(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    files = [
        parquet(tmp_path),
        arrow(tmp_path / "s.arrow", table),
        arrow(tmp_path / "f.arrow", table, stream=False),
    ]
    assert [arrow_files.form_of(file) for file in files] == ["parquet", "stream", "file"]
    for file in files:
        assert read(file) == ROWS
        assert [number for number, _ in arrow_files.rows(file)] == list(range(10))
        assert arrow_files.columns(file) == {"name": "string", "count": "int64", "data": "binary"}


def test_an_empty_table_has_no_rows(tmp_path: Path) -> None:
    schema = pa.schema([("a", pa.string())])
    pq.write_table(pa.Table.from_pylist([], schema), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == []
    assert read(arrow(tmp_path / "s.arrow", pa.Table.from_pylist([], schema))) == []


@pytest.mark.parametrize("form", ["parquet", "stream", "file"])
def test_a_file_that_is_cut_anywhere_is_an_error(tmp_path: Path, form: str) -> None:
    table = pa.Table.from_pylist(ROWS)
    whole = parquet(tmp_path) if form == "parquet" else arrow(tmp_path / "w", table, stream=form == "stream")
    data = whole.read_bytes()
    cut = tmp_path / "cut"
    for size in range(len(data)):
        cut.write_bytes(data[:size])
        with pytest.raises(DataError, match="cut"):
            read(cut)


def test_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=r"a.parquet: neither parquet nor Arrow"):
        read(tmp_path / "a.parquet")
    assert arrow_files.columns(tmp_path / "a.parquet") == {}
    with pytest.raises(DataError, match="cannot be opened"):
        read(tmp_path / "none.parquet")


def test_a_damaged_column_is_named_with_its_row_group(tmp_path: Path) -> None:
    rows = [{"name": f"n{i}", "data": bytes([i]) * 4000} for i in range(8)]
    file = parquet(tmp_path, rows, compression="zstd", write_page_checksum=True, use_dictionary=False)
    place = pq.ParquetFile(file).metadata.row_group(1).column(1)
    data = bytearray(file.read_bytes())
    middle = place.data_page_offset + place.total_compressed_size - 20
    data[middle] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"row group 1, column 'data'"):
        read(file)


def test_a_damaged_batch_is_named(tmp_path: Path) -> None:
    file = arrow(tmp_path / "a.arrow", pa.table({"text": ["abcdefgh"] * 4}))
    data = file.read_bytes()
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 8, 16, 24, 32))
    assert data.count(offsets) == 1
    file.write_bytes(data.replace(offsets, offsets[:-4] + (1 << 30).to_bytes(4, "little")))
    with pytest.raises(DataError, match="batch 0"):
        read(file)


def test_text_that_is_not_utf8_is_a_fault_of_its_row(tmp_path: Path) -> None:
    wrong = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"]).buffers())
    pq.write_table(pa.table({"text": wrong}), tmp_path / "a.parquet")
    good, bad = read(tmp_path / "a.parquet")
    assert good == {"text": "ok"}
    assert isinstance(bad, RowError)
    assert (bad.code, bad.field) == ("bad_encoding", "text")


def test_nulls_in_dictionaries_and_lists_of_null(tmp_path: Path) -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([0, None, 1]), pa.array(["a", None]))
    table = pa.table({"word": words, "list": pa.array([[None], [], None], pa.list_(pa.null()))})
    for file in (arrow(tmp_path / "s", table), arrow(tmp_path / "f", table, stream=False)):
        assert read(file) == [
            {"word": "a", "list": [None]},
            {"word": None, "list": []},
            {"word": None, "list": None},
        ]


def test_columns_of_other_types_are_not_read(tmp_path: Path) -> None:
    table = pa.table({"a": ["x"], "when": pa.array([0], pa.timestamp("ns")), "d": pa.array([{"k": [1.5]}])})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [{"a": "x", "d": {"k": [1.5]}}]


@pytest.mark.parametrize("name", ["arrow.py_extension_type", "lab.pickled", "datasets.features.Array2D"])
@pytest.mark.parametrize("form", ["parquet", "stream", "file"])
def test_extension_types_are_refused(tmp_path: Path, name: str, form: str) -> None:
    marks = {"ARROW:extension:name": name, "ARROW:extension:metadata": b"cos\nsystem\n(S'touch x'\ntR."}
    inner = pa.field("inner", pa.binary(), metadata=marks)
    for field in (pa.field("odd", pa.binary(), metadata=marks), pa.field("odd", pa.struct([inner]))):
        value = b"1" if field.type == pa.binary() else {"inner": b"1"}
        table = pa.table({"odd": pa.array([value], field.type)}, schema=pa.schema([field]))
        file = tmp_path / "a"
        if form == "parquet":
            pq.write_table(table, file)
        else:
            arrow(file, table, stream=form == "stream")
        why = "unknown" if "Array2D" in name else "pickle, which runs code"
        with pytest.raises(
            DataError, match=rf"column 'odd(\.inner)?': extension type .* is refused \(.*{why}"
        ):
            read(file)


def test_a_column_that_stands_twice_is_named(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["a", "a"])
    with pytest.raises(DataError, match="column 'a' appears twice"):
        read(arrow(tmp_path / "s", table))
