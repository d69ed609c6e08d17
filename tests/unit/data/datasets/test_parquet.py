"""Flat tables with pictures: VQA v2's columns, captions, options, turns, classes; and bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from data_sets import parquet as written
from data_sets._colours import COLOURS, picture

from sightweave import api
from sightweave.core.errors import DataError
from sightweave.data.datasets import parquet
from sightweave.data.inputs import image_files
from sightweave.data.reading.dataset import task_of
from sightweave.data.reading.detect import detect

PICTURE = {"bytes": picture("red", "PNG"), "path": None}


def build(path: Path, which: str = "train", **options: Any) -> Any:
    return parquet.Config(path=str(path), **options).build(split=which)


def one(folder: Path, values: dict[str, Any], schema: pa.Schema | None = None) -> Any:
    """The record of a table of one row."""
    file = written.write_table(folder / "rows.parquet", [{"image": PICTURE, **values}], schema)
    dataset = build(file, split="train")
    assert not dataset.faults
    ((record,),) = dataset
    return record


def test_questions_with_all_answers(tmp_path: Path) -> None:
    written.write(tmp_path)
    dataset = build(tmp_path)
    assert len(dataset) == 6
    for number, (colour, (record,)) in enumerate(zip(list(COLOURS)[:6], dataset, strict=True)):
        assert (record.id, record.question, record.answers) == (
            str(1000 + number),
            "What color is it?",
            (colour,),
        )
        assert record.references == (colour,) * 7 + ("dark",) * 3
        assert (record.tags, record.split) == ({"type": "other"}, "train")
        assert record.images[0].key == f"data/train-0000{number // 3}-of-00002.parquet#{number % 3}"
        assert np.array_equal(image_files.load(record.images[0])[3, 4], COLOURS[colour])
    ((held,),) = build(tmp_path, "val")
    assert (held.id, held.answers) == ("1006", ("purple",))


def test_a_test_without_answers_is_for_asking(tmp_path: Path) -> None:
    written.write(tmp_path)
    dataset = build(tmp_path, "test")
    assert len(dataset) == 0
    assert "1 rows have no answer and were not read" in " ".join(dataset.notes)
    asked = [record for (record,) in build(tmp_path, labelled=False)]
    assert sorted(record.id for record in asked) == [str(1000 + number) for number in range(8)]


def test_it_is_recognised(tmp_path: Path) -> None:
    written.write(tmp_path)
    assert list(detect(tmp_path)) == ["parquet"]
    reason = detect(tmp_path / "data" / "validation-00000-of-00001.parquet")
    assert reason == {"parquet": "columns image, question in validation-00000-of-00001.parquet"}


def test_other_tables_are_not_ours(tmp_path: Path) -> None:
    file = written.write_table(tmp_path / "a.parquet", [{"url": "x", "caption": "y"}], None)
    assert detect(file) == {}
    with pytest.raises(DataError, match=r"a.parquet: no image column .*the columns are url, caption"):
        build(file)
    file = written.write_table(tmp_path / "b.parquet", [{"image_path": "a.png", "width": 3}], None)
    assert detect(file) == {}


def test_pictures_alone_are_asked_about_and_checked(tmp_path: Path) -> None:
    file = written.write_table(tmp_path / "b.parquet", [{"image": PICTURE, "width": 3}], None)
    assert detect(file) == {"parquet": "images only in b.parquet"}
    with pytest.raises(DataError, match=r"b.parquet: no text column.*labelled: false"):
        build(file)
    ((record,),) = build(file, labelled=False)
    assert record.captions == ()
    report = api.check_data(file, out=tmp_path / "check", workers=1)
    assert (report.rows, report.pictures, report.is_sound) == (1, 1, True)


@pytest.mark.parametrize(
    "value", [picture("red", "PNG"), PICTURE, "a.png", {"bytes": None, "path": "x/a.png"}]
)
def test_a_picture_is_bytes_a_struct_or_a_path(tmp_path: Path, value: Any) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE["bytes"] or b"")
    record = one(tmp_path, {"image": value, "caption": "Red."})
    is_file = isinstance(value, str) or (isinstance(value, dict) and value["bytes"] is None)
    assert record.images[0].key == ("a.png" if is_file else "rows.parquet#0")
    assert np.array_equal(image_files.load(record.images[0])[0, 0], COLOURS["red"])


@pytest.mark.parametrize(
    ("values", "captions"),
    [
        ({"caption": "Red."}, ("Red.",)),
        ({"captions": ["Red.", "A red one."]}, ("Red.", "A red one.")),
        ({"text": "Red.", "source": "flickr"}, ("Red.",)),
        ({"title": "Red.", "prompt": "What colour?"}, ("Red.",)),
    ],
)
def test_captions_have_many_names(tmp_path: Path, values: dict[str, Any], captions: tuple[str, ...]) -> None:
    record = one(tmp_path, values)
    assert (task_of(record), record.captions, record.prompt) == (
        "captioning",
        captions,
        values.get("prompt", ""),
    )


@pytest.mark.parametrize(
    ("values", "answers", "references", "options"),
    [
        ({"answer": "red"}, ("red",), (), ()),
        ({"answer": 3}, ("3",), (), ()),
        ({"answers": ["red", "crimson"]}, ("red", "crimson"), (), ()),
        ({"answers": ["dark", "red", "red"]}, ("red",), ("dark", "red", "red"), ()),
        ({"answers": "red"}, ("red",), (), ()),
        ({"answer": 0, "choices": ["red", "blue"]}, ("red",), (), ("red", "blue")),
        ({"answer": "B", "options": ["blue", "red"]}, ("red",), (), ("blue", "red")),
        ({"answer": "(b)", "options": ["blue", "red"]}, ("red",), (), ("blue", "red")),
        ({"answer": "red", "options": ["blue", "red"]}, ("red",), (), ("blue", "red")),
    ],
)
def test_answers_have_many_forms(
    tmp_path: Path, values: Any, answers: Any, references: Any, options: Any
) -> None:
    record = one(tmp_path, {"question": "Which?", **values})
    assert (record.answers, record.references, record.options) == (answers, references, options)


def test_reasons_and_translations_are_read(tmp_path: Path) -> None:
    record = one(tmp_path, {"question": "Which?", "answer": "red", "rationale": "It looks so."})
    assert (task_of(record), record.rationale) == ("reasoning", "It looks so.")
    texts = {"source": "red", "target": "rot", "source_language": "en", "target_language": "de"}
    record = one(tmp_path, {**texts, "id": 7})
    assert (task_of(record), record.source, record.targets, record.id) == (
        "translation",
        "red",
        ("rot",),
        "7",
    )


@pytest.mark.parametrize(
    "values",
    [
        {"conversations": [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "Red."}]},
        {"messages": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "Red."}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "text": None}, {"type": "text", "text": "Which?"}],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "Red."}]},
            ]
        },
    ],
)
def test_turns_are_conversations(tmp_path: Path, values: dict[str, Any]) -> None:
    record = one(tmp_path, values)
    assert [(turn.role, turn.content) for turn in record.turns] == [
        ("user", (0, "Which?")),
        ("assistant", ("Red.",)),
    ]


def test_several_columns_of_pictures(tmp_path: Path) -> None:
    row = {f"image_{n}": {"bytes": picture(c, "PNG"), "path": None} for n, c in ((1, "red"), (2, "blue"))}
    row |= {"image_3": None, "question": "Which?", "answer": "both"}
    file = written.write_table(tmp_path / "rows.parquet", [row], None)
    ((record,),) = build(file, split="train")
    assert [image.key for image in record.images] == ["rows.parquet#0.0", "rows.parquet#0.1"]
    assert np.array_equal(image_files.load(record.images[1])[0, 0], COLOURS["blue"])


def test_names_of_classes_come_from_the_schema(tmp_path: Path) -> None:
    about = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    marks = {"huggingface": json.dumps(about)}
    schema = pa.schema([("image", written.PICTURE), ("label", pa.int64())], metadata=marks)
    assert one(tmp_path, {"label": 1}, schema).captions == ("dog",)
    file = written.write_table(
        tmp_path / "b.parquet", [{"image": PICTURE, "label": n} for n in (0, 2)], schema
    )
    (fault,) = build(file, split="train").faults
    assert (fault.line, fault.code, fault.value) == (1, "bad_class", "2")


def test_arrow_files_are_read_as_well(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{"image": PICTURE, "caption": "Red."}])
    for name, make in (("s.arrow", pa.ipc.new_stream), ("f.feather", pa.ipc.new_file)):
        with pa.OSFile(str(tmp_path / name), "wb") as sink, make(sink, table.schema) as writer:
            writer.write_table(table)
        assert list(detect(tmp_path / name)) == ["parquet"]
        ((record,),) = build(tmp_path / name, split="train")
        assert (record.captions, record.images[0].key) == (("Red.",), f"{name}#0")


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"image": None}, "missing_field", "image"),
        ({"image": {"bytes": None, "path": None}}, "missing_field", "image"),
        ({"question": None}, "missing_field", ""),
        ({"question": " "}, "empty_field", "question"),
        ({"answer": None}, "missing_field", "answer"),
        ({"options": ["blue", "green"]}, "bad_answer", "answer"),
        ({"split": "holdout"}, "bad_split", "split"),
    ],
)
def test_bad_rows_are_faults_with_their_place(tmp_path: Path, values: Any, code: str, field: str) -> None:
    good = {"image": PICTURE, "question": "Which?", "answer": "red", "options": ["red"], "split": "train"}
    file = written.write_table(tmp_path / "a.parquet", [good, good | values], None)
    dataset = build(file)
    assert len(dataset) == 1
    (fault,) = dataset.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 1, code, field)


def test_lists_of_null_are_faults(tmp_path: Path) -> None:
    schema = pa.schema(
        [("image", written.PICTURE), ("question", pa.string()), ("answers", pa.list_(pa.null()))]
    )
    rows = [{"image": PICTURE, "question": "Which?", "answers": [None, None]}]
    file = written.write_table(tmp_path / "a.parquet", rows, schema)
    with pytest.raises(DataError, match=r"a.parquet:0: answers: must be text"):
        build(file, strict=True)


def test_nulls_in_a_dictionary_of_texts_are_missing(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0, 1, None]), pa.array(["Red.", None]))
    table = pa.table({"image": pa.array([PICTURE] * 3, written.PICTURE), "caption": texts})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    dataset = build(tmp_path / "a.arrow", split="train", max_bad=1.0)
    assert [record.captions for (record,) in dataset] == [("Red.",)]
    assert [(fault.line, fault.code) for fault in dataset.faults] == [
        (1, "missing_field"),
        (2, "missing_field"),
    ]


def test_files_of_one_split_must_be_alike(tmp_path: Path) -> None:
    written.write_table(tmp_path / "train-0.parquet", [{"image": PICTURE, "caption": "Red."}], None)
    written.write_table(tmp_path / "train-1.parquet", [{"image": b"x", "caption": "Red."}], None)
    with pytest.raises(
        DataError, match=r"train-1.parquet: column 'image' is binary, but struct.* in train-0.parquet"
    ):
        build(tmp_path)


def test_a_file_that_is_only_a_pointer_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    )
    assert detect(tmp_path) == {"parquet": "a.parquet, which is unreadable"}
    with pytest.raises(DataError, match=r"a.parquet: neither a parquet nor an Arrow"):
        build(tmp_path)


def test_a_folder_without_tables_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no parquet or Arrow files"):
        build(tmp_path)


def test_pictures_in_a_column_of_an_unknown_name_are_named(tmp_path: Path) -> None:
    row = {"scan": PICTURE, "question": "Which?", "answer": "red"}
    file = written.write_table(tmp_path / "a.parquet", [row], None)
    assert detect(tmp_path) == {"parquet": "images in columns not called image (scan)"}
    with pytest.raises(
        DataError, match=r"no image column.*are scan, question, answer. Possible image columns: 'scan'"
    ):
        build(file)


def test_the_pictures_of_mathvista_and_muirbench_are_found(tmp_path: Path) -> None:
    record = one(
        tmp_path, {"image": "images/1.jpg", "decoded_image": PICTURE, "question": "?", "answer": "1"}
    )
    assert len(record.images) == 1
    assert callable(record.images[0].source)
    (tmp_path / "b").mkdir()
    row = {"image_list": [PICTURE, PICTURE], "question": "?", "options": ["a", "b"], "answer": "B"}
    file = written.write_table(tmp_path / "b" / "a.parquet", [row], None)
    ((record,),) = build(file, split="train")
    assert (len(record.images), record.answers) == (2, ("b",))


def test_a_conversation_whose_mark_has_no_picture_is_a_fault(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image>Which?"}, {"from": "gpt", "value": "Red."}]
    rows = [{"images": [PICTURE], "conversations": turns}, {"images": [], "conversations": turns}]
    (fault,) = build(written.write_table(tmp_path / "a.parquet", rows, None)).faults
    assert (fault.line, fault.code) == (1, "image_marks")
