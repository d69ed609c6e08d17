"""The Cauldron's parquet: turns, pictures, ratings, parts; and tables that are not quite so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from data_sets import cauldron as written
from data_sets._colours import COLOURS, picture

from sightweave.core.errors import DataError
from sightweave.data.datasets import cauldron
from sightweave.data.inputs import image_files
from sightweave.data.reading.detect import detect


def build(path: Path, which: str = "train", **options: Any) -> Any:
    return cauldron.Config(path=str(path), **options).build(split=which)


def table(folder: Path, rows: list[Any], schema: pa.Schema = written.SCHEMA) -> Path:
    return written.write_table(folder / "data-00000.parquet", rows, schema)


def test_every_row_is_a_conversation_with_its_pictures_first(tmp_path: Path) -> None:
    dataset = build(written.write(tmp_path))
    assert len(dataset) == 8
    for number, (colour, (record,)) in enumerate(zip(list(COLOURS)[:6], dataset, strict=False)):
        file = f"colours/train-0000{number // 3}-of-00002.parquet"
        assert record.id == f"{file}#{number % 3}"
        assert [(turn.role, turn.content) for turn in record.turns] == [
            ("user", (0, "Which colour is it?")),
            ("assistant", (f"It is {colour}.",)),
            ("user", ("Say it in one word.",)),
            ("assistant", (colour,)),
        ]
        assert record.tags == {"type": "colours"}
        assert record.split == "train"
        assert record.images[0].key == f"{file}#{number % 3}.0"
        assert np.abs(image_files.load(record.images[0])[0, 0].astype(int) - COLOURS[colour]).max() < 4
    two, texts = dataset[6][0], dataset[7][0]
    assert [image.key for image in two.images] == [
        f"pairs/train-00000-of-00001.parquet#0.{n}" for n in (0, 1)
    ]
    assert two.turns[0].content == (0, 1, "Which colour is it?")
    assert (texts.images, [turn.content for turn in texts.turns]) == ((), [("Name a colour.",), ("Red.",)])
    assert len(build(tmp_path, "val")) == len(build(tmp_path, "test")) == 0


def test_it_is_recognised(tmp_path: Path) -> None:
    written.write(tmp_path)
    assert list(detect(tmp_path)) == list(detect(tmp_path / "pairs")) == ["cauldron"]
    reason = detect(tmp_path / "pairs" / "train-00000-of-00001.parquet")
    assert reason == {"cauldron": "images and texts of user and assistant in train-00000-of-00001.parquet"}


def test_ratings_choose_turns_and_rows(tmp_path: Path) -> None:
    written.write(tmp_path)
    records = [record for (record,) in build(tmp_path, min_quality={"visual_dependency_ratings": 3})]
    assert [len(record.turns) for record in records] == [2, 2, 2, 4, 4, 4, 4, 2]
    assert records[0].turns[0].content == (0, "Which colour is it?")
    assert len(build(tmp_path, min_quality={"formatting_min": 3})) == 5


def test_the_source_of_turns_is_their_type(tmp_path: Path) -> None:
    turns = pa.list_(pa.struct([("user", pa.string()), ("assistant", pa.string()), ("source", pa.string())]))
    schema = pa.schema([("images", pa.list_(written.PICTURE)), ("texts", turns)])
    texts = [{"user": "Which?", "assistant": "Red.", "source": "vqav2"}]
    row = {"images": [{"bytes": picture("red"), "path": "a.jpg"}], "texts": texts}
    ((record,),) = build(table(tmp_path, [row], schema), split="train")
    assert record.tags == {"source": "vqav2", "type": "vqav2"}
    assert record.images[0].key == "data-00000.parquet#0.0"


def test_pictures_may_be_files_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture("blue"))
    row = written.row(["red"]) | {"images": [{"bytes": None, "path": "a.jpg"}]}
    ((record,),) = build(table(tmp_path, [row]), split="train")
    assert record.images[0].source == tmp_path.resolve() / "a.jpg"


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"texts": None}, "missing_field", "texts"),
        ({"texts": []}, "wrong_type", "texts"),
        ({"texts": [{"user": "Which?", "assistant": None}]}, "wrong_type", "turns[1]"),
        ({"texts": [None]}, "wrong_type", "texts[0]"),
        ({"texts": [{"user": "Which?", "assistant": " "}]}, "empty_field", "turns[1]"),
        ({"images": [None]}, "missing_field", "images"),
        ({"images": [{"bytes": b"", "path": None}]}, "missing_field", "images"),
        ({"images": [{"bytes": b"no picture", "path": None}]}, "image_corrupt", "image"),
        ({"images": [{"bytes": None, "path": "../x.jpg"}]}, "image_path", "image"),
    ],
)
def test_bad_rows_are_faults_with_their_place(tmp_path: Path, change: Any, code: str, field: str) -> None:
    file = table(tmp_path, [written.row(["red"]), written.row(["blue"]) | change])
    dataset = build(file, split="train")
    assert len(dataset) == 1
    (fault,) = dataset.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 1, code, field)


def test_a_missing_column_is_an_error(tmp_path: Path) -> None:
    names = [name for name in written.SCHEMA.names if name != "texts"]
    schema = pa.schema([written.SCHEMA.field(name) for name in names])
    with pytest.raises(
        DataError, match=r"data-00000.parquet: no column 'texts'; the columns are images, source"
    ):
        build(table(tmp_path, [], schema))


def test_files_of_one_folder_must_have_the_same_columns(tmp_path: Path) -> None:
    written.write_table(tmp_path / "train-0.parquet", [written.row(["red"])])
    names = [name for name in written.SCHEMA.names if name != "formatting_min"]
    schema = pa.schema([written.SCHEMA.field(name) for name in names])
    written.write_table(tmp_path / "train-1.parquet", [written.row(["blue"])], schema)
    with pytest.raises(
        DataError, match=r"train-1.parquet: no column 'formatting_min', which train-0.parquet has"
    ):
        build(tmp_path)


def test_a_cut_file_is_an_error(tmp_path: Path) -> None:
    file = table(tmp_path, [written.row(["red"])])
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"data-00000.parquet: incomplete parquet"):
        build(file)
