"""Columns by their many names, and files that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightweave.core.errors import DataError
from sightweave.data.reading import table_columns, table_layouts
from sightweave.data.reading.row_files import RowError


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("default/validation/0000.parquet", "validation"),
        ("test/part/0000.parquet", "test"),
        ("all/0000.parquet", ""),
        ("train/extra-test-0.parquet", "test"),
    ],
)
def test_a_files_name_or_its_folders_say_the_split(name: str, split: str) -> None:
    root = Path("/data/train")  # which is not below itself
    assert table_layouts.split_below(root / name, root) == split


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("string", "large_string", True),
        ("null", "list<element: string>", True),
        ("struct<bytes: binary, path: null>", "struct<bytes: binary, path: string>", True),
        ("list<element: string>", "list<element: null>", True),
        ("struct<bytes: binary, path: null>", "binary", False),
        ("int64", "string", False),
    ],
)
def test_a_column_keeps_its_type_or_has_none(first: str, second: str, alike: bool) -> None:
    layouts = table_layouts.Layouts()
    layouts.check(Path("d/a"), "train", {"x": first})
    layouts.check(Path("d/b"), "val", {"y": "string"})  # another split may have other columns
    if alike:
        layouts.check(Path("d/b"), "train", {"x": second})
    else:
        with pytest.raises(DataError, match=f"d/b: column 'x' is {second}, but {first} in a"):
            layouts.check(Path("d/b"), "train", {"x": second})


@pytest.mark.parametrize(
    ("cells", "code", "field"),
    [
        ({"conversations": "text"}, "wrong_type", "conversations"),
        ({"conversations": [3]}, "wrong_type", "conversations[0]"),
        ({"conversations": []}, "wrong_type", "conversations"),
        ({"question": "?", "answer": 7, "options": ["a", "b"]}, "bad_answer", "answer"),
        ({"question": "?", "answer": True, "options": ["a", "b"]}, "bad_answer", "answer"),
        ({"question": "?", "answer": "c", "options": ["a", "b"]}, "bad_answer", "answer"),
        ({"label": 9}, "bad_class", "label"),
        ({"label": -1}, "bad_class", "label"),
    ],
)
def test_cells_that_cannot_be_are_row_errors(cells: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(RowError) as raised:
        table_columns.fields(cells, num_images=1, names={"label": ["cat"]})
    assert (raised.value.code, raised.value.field) == (code, field)


def test_several_marks_count_up_over_turns() -> None:
    turns = [
        {"from": "system", "value": "Be short."},
        {"from": "human", "value": "<image> and <image>\nAlike?"},
        {"from": "gpt", "value": "No."},
        {"from": "human", "value": "And <image>?"},
        {"from": "gpt", "value": "Yes."},
    ]
    found = table_columns.fields({"conversations": turns}, num_images=3)
    assert [(turn["role"], turn["content"]) for turn in found["turns"]] == [
        ("system", ["Be short."]),
        ("user", [0, " and ", 1, "Alike?"]),
        ("assistant", ["No."]),
        ("user", ["And ", 2, "?"]),
        ("assistant", ["Yes."]),
    ]


def test_ratings_are_numbers_and_lists_of_numbers() -> None:
    cells = {"relevance_ratings": [5, 3], "score": 0.5, "name": "x", "flag": True, "none": None, "empty": []}
    found = table_columns.fields({**cells, "caption": "Red."}, num_images=1)
    assert found["quality"] == {"relevance_ratings": [5, 3], "score": 0.5}


def test_a_mark_is_ordinary_text_without_pictures_and_in_answers() -> None:
    turns = [{"role": "user", "content": "Say <image>."}, {"role": "assistant", "content": "<image>"}]
    found = table_columns.fields({"messages": turns}, num_images=0)
    assert [turn["content"] for turn in found["turns"]] == [["Say <image>."], ["<image>"]]
    found = table_columns.fields({"messages": turns}, num_images=1)
    assert [turn["content"] for turn in found["turns"]] == [["Say ", 0, "."], ["<image>"]]
