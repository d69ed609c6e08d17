"""VQA v2 and what has its files, field by field, and what is said of broken ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from data_sets import vqa_v2 as written
from PIL import Image

from sightweave.core.errors import DataError
from sightweave.data.datasets import vqa_v2
from sightweave.data.reading.detect import detect
from sightweave.data.reading.splits import common_split
from sightweave.data.reading.table import Table

QUESTIONS = "v2_OpenEnded_mscoco_train2014_questions.json"
ANNOTATIONS = "v2_mscoco_train2014_annotations.json"


def read(path: Path, split: str = "train", **options: Any) -> Table:
    return vqa_v2.Config(path=str(path), **options).build(split=split)


def edited(path: Path, edit: Any) -> Path:
    values = json.loads(path.read_text(encoding="utf-8"))
    edit(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def is_colour(path: Path, number: int) -> bool:
    with Image.open(path) as picture:
        found = picture.convert("RGB").getpixel((5, 5))
    wanted = list(written.COLOURS.values())[number]
    return all(abs(a - b) < 8 for a, b in zip(found, wanted, strict=True))


def test_version_2_field_by_field(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert set(detect(path)) == {"vqa_v2"}
    for split, numbers in (("train", range(6)), ("val", range(6, 8))):
        table = read(path, split)
        assert len(table) == len(numbers)
        assert not table.faults
        for number, (record,) in zip(numbers, table, strict=True):
            assert (record.id, record.split) == (f"{1000 + number}000", common_split(split))
            assert record.group == f"{split}2014/COCO_{split}2014_{1000 + number:012d}.jpg"
            assert is_colour(record.images[0].source, number)
            assert record.question == "What color is the picture?"
            assert record.answers == (list(written.COLOURS)[number],)
            assert record.references == tuple(written.answers_of(number))
            assert record.tags == {"type": "other", "question_type": "what color is the"}
            assert record.options == ()
            assert record.regions == ()


def test_questions_of_the_test_have_no_answers(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert len(read(path, "test")) == 0
    file = path / "v2_OpenEnded_mscoco_test-dev2015_questions.json"
    assert set(detect(file)) == {"vqa_v2"}
    (record,) = read(file, labelled=False)[0]
    assert record.images[0].key == "test2015/COCO_test2015_000000001000.jpg"
    assert (record.question, record.answers) == ("What color is the picture?", ())


def test_test_dev_is_no_dev_set(tmp_path: Path) -> None:
    rows = list(vqa_v2.Config(path=str(written.write(tmp_path))).rows("validation"))
    assert [row.values["id"] for row in rows] == [1006000, 1007000]
    rows = list(vqa_v2.Config(path=str(tmp_path)).rows("test"))
    assert [(row.values["split"], row.values["unlabelled"]) for row in rows] == [("test", True)] * 2


def test_a_question_file_alone_finds_the_others(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    for file in path.glob("*.json"):
        (path / "questions").mkdir(exist_ok=True)
        file.rename(path / "questions" / file.name)
    file = path / "questions" / QUESTIONS
    assert set(detect(file)) == {"vqa_v2"}
    assert len(read(file)) == 6
    assert [len(read(path, split)) for split in ("train", "val")] == [6, 2]


def test_annotations_in_another_order_and_more_of_them(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    edited(path / ANNOTATIONS, lambda v: v["annotations"].reverse())
    edited(path / QUESTIONS, lambda v: v["questions"].pop(2))
    table = read(path)
    assert not table.faults
    assert [r.answers[0] for (r,) in table] == [c for i, c in enumerate(list(written.COLOURS)[:6]) if i != 2]


def test_each_row_knows_both_its_places(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    edited(path / ANNOTATIONS, lambda v: v["annotations"].reverse())
    row = next(vqa_v2.Config(path=str(path)).rows("train"))
    assert row.places == ((str(path / QUESTIONS), 0), (str(path / ANNOTATIONS), 5))


def test_where_the_head_does_not_say_which_pictures_the_name_does(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    edited(path / QUESTIONS, lambda v: (v.pop("data_subtype"), v.pop("data_type")))
    assert read(path)[0][0].group == "train2014/COCO_train2014_000000001000.jpg"


def test_pictures_of_drawn_scenes_have_other_names(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    edited(path / QUESTIONS, lambda v: v.update(data_type="abstract_v002", data_subtype="train2015"))
    row = next(vqa_v2.Config(path=str(path)).rows("train"))
    assert row.values["image"] == "train2015/abstract_v002_train2015_000000001000.png"


def test_gzip_reads_the_same(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    for file in sorted(path.glob("*.json")):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert set(detect(path)) == {"vqa_v2"}
    assert [record.answers for (record,) in read(path)] == [(c,) for c in list(written.COLOURS)[:6]]


def test_several_choices_are_options(tmp_path: Path) -> None:
    file = written.write_choices(tmp_path)
    assert set(detect(file)) == {"vqa_v2"}
    (record,) = read(file)[2]
    assert record.options == (*written.COLOURS, *map(str, range(8)), "yes", "no")
    assert record.answers == ("blue",)


def test_ok_vqa_learns_the_commonest(tmp_path: Path) -> None:
    path = written.write_okvqa(tmp_path)
    assert set(detect(path)) == {"vqa_v2"}
    ((first,), (_,)) = read(path, "val")
    assert first.answers == ("black",)
    assert first.references == tuple(written.answers_of(6))
    assert first.tags == {"type": "other", "question_type": "four"}


def test_vizwiz(tmp_path: Path) -> None:
    path = written.write_vizwiz(tmp_path)
    assert set(detect(path)) == {"vqa_v2"}
    assert "test.json" in detect(path)["vqa_v2"]
    assert set(detect(path / "Annotations/test.json")) == {"vqa_v2"}
    assert [len(read(path, split)) for split in ("train", "val", "test")] == [6, 1, 0]
    ((record,),) = read(path, "val")
    assert (record.id, record.group) == ("VizWiz_val_00000006", "val/VizWiz_val_00000006.jpg")
    assert is_colour(record.images[0].source, 6)
    assert (record.answers, record.tags) == (("black",), {"type": "other"})
    assert record.references == tuple(written.answers_of(6)[::-1])
    (asked,) = read(path / "Annotations/test.json", labelled=False)[0]
    assert (asked.group, asked.answers) == ("test/VizWiz_test_00000007.jpg", ())


def test_pictures_in_another_folder(tmp_path: Path) -> None:
    path = written.write(tmp_path / "set")
    (path / "train2014").rename(tmp_path / "pictures")
    with pytest.raises(DataError, match=r"all 6 rows are bad(.|\n)*_questions\.json:0: image: "):
        read(path)
    assert read(path, image_root=str(tmp_path / "pictures"))[3][0].group == "COCO_train2014_000000001003.jpg"


def test_answers_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    (path / ANNOTATIONS).unlink()
    with pytest.raises(
        DataError, match=r"answers are missing; put v2_mscoco_train2014_annotations\.json in the same folder"
    ):
        read(path)
    assert len(read(path / QUESTIONS, labelled=False)) == 6


def test_two_annotation_files_for_one(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    (path / "copy").mkdir()
    (path / "copy" / ANNOTATIONS).write_bytes((path / ANNOTATIONS).read_bytes())
    with pytest.raises(DataError, match="2 annotation files for it"):
        read(path)


BROKEN_QUESTIONS = [
    (7, "wrong_type", ""),
    (None, "wrong_type", ""),
    ({}, "missing_field", "image_id"),
    ({"image_id": 1000}, "missing_field", "question_id"),
    ({"image_id": [1], "question_id": 1}, "wrong_type", "image_id"),
    ({"image_id": 1000, "question_id": {"a": 1}}, "wrong_type", "question_id"),
    ({"image_id": 1000, "question_id": 1.5}, "wrong_type", "question_id"),
    ({"image_id": 1000, "question_id": 1000000}, "missing_field", "question"),
    ({"image_id": 1000, "question_id": 1000000, "question": 5}, "wrong_type", "question"),
    ({"image_id": 1000, "question_id": 1000000, "question": ""}, "empty_field", "question"),
    ({"image_id": 1000, "question_id": 5, "question": "What?"}, "missing_field", "answer"),
    ({"image_id": 5, "question_id": 1000000, "question": "What?"}, "image_missing", "image"),
    ({"image_id": "../a.jpg", "question_id": 1000000, "question": "What?"}, "image_path", "image"),
    ({"image_id": "\ud800.jpg", "question_id": 1000000, "question": "What?"}, "image_path", "image"),
    (
        {"image_id": 1000, "question_id": 1000000, "question": "What?", "multiple_choices": {"a": 3}},
        "wrong_type",
        "options",
    ),
]


@pytest.mark.parametrize(("question", "code", "field"), BROKEN_QUESTIONS)
def test_a_broken_question_is_one_fault_with_its_place(
    tmp_path: Path, question: Any, code: str, field: str
) -> None:
    path = written.write(tmp_path)
    file = edited(path / QUESTIONS, lambda v: v["questions"].__setitem__(0, question))
    table = read(path)
    (fault,) = table.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 0, code, field)
    assert [record.id for (record,) in table] == [f"{1000 + n}000" for n in range(1, 6)]
    with pytest.raises(DataError, match=r"questions\.json:0"):
        read(path, strict=True)


BROKEN_ANNOTATIONS = [
    (lambda one: one.update(answers=3), "wrong_type", "answers"),
    (lambda one: one.update(answers=["red"]), "wrong_type", "answers"),
    (lambda one: one.update(answers=[{"answer": []}]), "wrong_type", "references"),
    (lambda one: one.update(answers=[{}]), "wrong_type", "references"),
    (lambda one: one.update(multiple_choice_answer=[[]]), "wrong_type", "answers"),
    (lambda one: one.update(multiple_choice_answer=""), "empty_field", "answers"),
    (lambda one: (one.pop("multiple_choice_answer"), one.pop("answers")), "empty_field", "answers"),
]


@pytest.mark.parametrize(("edit", "code", "field"), BROKEN_ANNOTATIONS)
def test_a_broken_annotation_is_its_questions_fault(tmp_path: Path, edit: Any, code: str, field: str) -> None:
    path = written.write(tmp_path)
    edited(path / ANNOTATIONS, lambda v: edit(v["annotations"][2]))
    (fault,) = read(path).faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(path / QUESTIONS), 2, code, field)


@pytest.mark.parametrize("annotation", [None, 5, {}, {"question_id": []}])
def test_an_annotation_without_a_question_has_its_own_place(tmp_path: Path, annotation: Any) -> None:
    path = written.write(tmp_path)
    file = edited(path / ANNOTATIONS, lambda v: v["annotations"].__setitem__(2, annotation))
    without, broken = read(path).faults
    assert (without.line, without.code, without.field) == (2, "missing_field", "answer")
    assert (broken.file, broken.line) == (str(file), 2)


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ("text", "wrong_type", ""),
        ({"image": "VizWiz_train_00000000.jpg", "question": "What?"}, "empty_field", "answers"),
        ({"image": 3, "question": "What?", "answers": [{"answer": "a"}]}, "wrong_type", "image"),
        ({"question": "What?", "answers": [{"answer": "a"}]}, "missing_field", "image"),
        ({"image": "VizWiz_train_00000000.jpg", "answers": [{"answer": "a"}]}, "missing_field", "question"),
        (
            {"image": "VizWiz_train_00000000.jpg", "question": "What?", "answers": "a"},
            "wrong_type",
            "answers",
        ),
    ],
)
def test_broken_rows_of_vizwiz(tmp_path: Path, row: Any, code: str, field: str) -> None:
    path = written.write_vizwiz(tmp_path)
    file = edited(path / "Annotations/train.json", lambda v: v.__setitem__(0, row))
    (fault,) = read(path).faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 0, code, field)


@pytest.mark.parametrize("name", [QUESTIONS, ANNOTATIONS])
@pytest.mark.parametrize("keep", [0.9, 0.7])
def test_a_file_that_is_cut_is_an_error_with_its_place(tmp_path: Path, name: str, keep: float) -> None:
    path = written.write(tmp_path)
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=rf"{name}: character \d+: "):
        read(path)
