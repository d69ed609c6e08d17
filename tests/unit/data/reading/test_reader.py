"""What a reading leaves behind: a table that holds the rows and nothing of what was needed to read them."""

from __future__ import annotations

import gc
import weakref

import pytest

from sightweave.core.errors import DataError
from sightweave.data.reading.reader import Reader
from sightweave.data.reading.row_files import Row
from sightweave.data.reading.rules import Rules


def rows(count: int) -> list[Row]:
    return [
        Row(i, {"id": f"row {i}", "images": [], "question": f"{i} ?", "answer": "yes"}) for i in range(count)
    ]


def test_a_table_does_not_keep_its_reader() -> None:
    reader = Reader(Rules(held_out=0, validation=0), "rows")
    reader.read(iter(rows(5)))
    table = reader.finish("train")
    alive = weakref.ref(reader)
    del reader
    gc.collect()
    assert alive() is None  # ids, names of pictures and headers took far more memory than the rows
    assert sorted(record.id for group in table for record in group) == [f"row {i}" for i in range(5)]
    assert table.given_ids == {f"row {i}" for i in range(5)}


def test_rows_without_an_id_are_named_and_not_counted_as_given() -> None:
    reader = Reader(Rules(held_out=0, validation=0), "rows")
    nameless = Row(7, {"images": [], "question": "?", "answer": "no"})
    reader.read(iter([*rows(1), nameless]))
    table = reader.finish("train")
    assert {record.id for group in table for record in group} == {"row 0", "rows:7"}
    assert table.given_ids == {"row 0"}


def test_an_id_given_twice_is_counted_and_refused_where_strict() -> None:
    twice = [*rows(2), *rows(1)]
    reader = Reader(Rules(held_out=0, validation=0), "rows")
    reader.read(iter(twice))
    assert any("1 rows have a duplicate id, such as 'row 0'" in note for note in reader.finish("train").notes)
    with pytest.raises(DataError, match=r"; ids must be unique\."):
        Reader(Rules(strict=True), "rows").read(iter(twice))


def test_nothing_to_read_is_an_error_for_training_alone() -> None:
    assert len(Reader(Rules(), "rows").finish("test")) == 0
    with pytest.raises(DataError, match="rows: no rows"):
        Reader(Rules(), "rows").finish("train")
