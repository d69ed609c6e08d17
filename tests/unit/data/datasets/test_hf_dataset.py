"""Data sets saved to disk: splits, names of classes, several files; and folders that are not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from data_sets import hf_dataset as written
from data_sets._colours import COLOURS, picture

from sightweave.core.errors import DataError
from sightweave.data.datasets import hf_dataset
from sightweave.data.inputs import image_files
from sightweave.data.reading.detect import detect


def build(path: Path, which: str = "train", **options: Any) -> Any:
    return hf_dataset.Config(path=str(path), **options).build(split=which)


def test_pictures_and_names_of_classes_by_split(tmp_path: Path) -> None:
    written.write(tmp_path)
    dataset = build(tmp_path)
    for number, (colour, (record,)) in enumerate(zip(list(COLOURS)[:6], dataset, strict=True)):
        name = f"train/data-0000{number // 3}-of-00002.arrow#{number % 3}"
        assert (record.id, record.captions, record.images[0].key) == (name, (colour,), name)
        assert np.array_equal(image_files.load(record.images[0])[0, 0], COLOURS[colour])
    assert [r.captions for (r,) in build(tmp_path, "val")] == [("purple",)]
    assert [r.captions for (r,) in build(tmp_path, "test")] == [("orange",)]


def test_it_is_recognised(tmp_path: Path) -> None:
    written.write(tmp_path)
    assert detect(tmp_path) == {"hf_dataset": "dataset_dict.json with test, train, validation"}
    assert list(detect(tmp_path / "train")) == ["hf_dataset"]
    assert list(detect(tmp_path / "train" / "data-00000-of-00002.arrow")) == ["hf_dataset"]


def test_one_split_or_one_of_its_files(tmp_path: Path) -> None:
    written.write(tmp_path)
    assert len(build(tmp_path / "train")) == 6
    dataset = build(tmp_path / "train" / "data-00001-of-00002.arrow")
    assert [r.captions[0] for (r,) in dataset] == ["yellow", "black", "white"]
    assert dataset[0][0].images[0].key == "data-00001-of-00002.arrow#0"


def test_a_folder_of_another_name_has_no_split(tmp_path: Path) -> None:
    written.write_split(tmp_path / "mine", "all", [list(COLOURS)])
    dataset = build(tmp_path / "mine")
    assert "no row has a split" in " ".join(dataset.notes)


def test_questions_and_paths(tmp_path: Path) -> None:
    written.write_split(tmp_path, "train", [["red"]])
    schema = pa.schema(
        [
            ("image", pa.string()),
            ("question", pa.string()),
            ("answers", pa.list_(pa.string())),
            ("label", pa.int64()),
        ]
    )
    (tmp_path / "a.jpg").write_bytes(picture("red"))
    row = {"image": "a.jpg", "question": "Which?", "answers": ["red", "dark", "red"], "label": 0}
    written.write_stream(tmp_path / "data-00000-of-00001.arrow", [row], schema)
    ((record,),) = build(tmp_path)
    assert (record.question, record.answers, record.references) == (
        "Which?",
        ("red",),
        ("red", "dark", "red"),
    )
    assert record.images[0].key == "a.jpg"


def test_bad_rows_are_faults_with_their_place(tmp_path: Path) -> None:
    written.write_split(tmp_path, "train", [["red"]])
    file = tmp_path / "data-00000-of-00001.arrow"
    image = {"bytes": picture("red"), "path": None}
    rows = [{"image": image, "label": 0}, {"image": image, "label": 8}, {"image": None, "label": 1}]
    written.write_stream(file, [*rows, {"image": image, "label": None}])
    faults = build(tmp_path, max_bad=1.0).faults
    assert [(fault.file, fault.line, fault.code, fault.field) for fault in faults] == [
        (str(file), 1, "bad_class", "label"),
        (str(file), 2, "missing_field", "image"),
        (str(file), 3, "missing_field", ""),
    ]


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    written.write(tmp_path)
    (tmp_path / "train" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"data-00001-of-00002.arrow: listed in state.json but missing"):
        build(tmp_path)


def test_a_split_that_is_named_must_be_there(tmp_path: Path) -> None:
    written.write(tmp_path)
    (tmp_path / "test" / "state.json").unlink()
    with pytest.raises(DataError, match=r"split 'test' is listed in dataset_dict.json, but has no folder"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_data_files": None}, "'_data_files' must list the Arrow files in this folder."),
        (
            {"_data_files": [{"filename": "../../x.arrow"}]},
            "'_data_files' must list the Arrow files in this folder.",
        ),
        ({"_indices_data_files": [{"filename": "i.arrow"}]}, "flatten_indices"),
    ],
)
def test_a_state_of_another_kind_is_an_error(tmp_path: Path, change: Any, message: str) -> None:
    written.write_split(tmp_path, "train", [["red"]])
    state = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps(state | change))
    with pytest.raises(DataError, match=message):
        build(tmp_path)


def test_a_stream_that_is_cut_between_batches_is_an_error(tmp_path: Path) -> None:
    written.write(tmp_path)
    file = tmp_path / "train" / "data-00000-of-00002.arrow"
    file.write_bytes(file.read_bytes()[:-8])  # all but the end mark: two whole batches
    with pytest.raises(DataError, match=r"data-00000-of-00002.arrow: the stream has no end mark"):
        build(tmp_path)


def test_missing_or_broken_descriptions_are_errors(tmp_path: Path) -> None:
    written.write_split(tmp_path, "train", [["red"]])
    (tmp_path / "dataset_info.json").unlink()
    with pytest.raises(DataError, match=r"dataset_info.json: file not found"):
        build(tmp_path)
    (tmp_path / "dataset_info.json").write_text('{"features": {')
    with pytest.raises(DataError, match=r"dataset_info.json: character"):
        build(tmp_path)
