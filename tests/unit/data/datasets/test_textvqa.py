"""TextVQA field by field, and what is said of broken questions."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from data_sets import textvqa as written
from PIL import Image

from sightweave.core.errors import DataError
from sightweave.data.datasets import textvqa
from sightweave.data.reading.detect import detect
from sightweave.data.reading.splits import common_split
from sightweave.data.reading.table import Table

TRAIN = "TextVQA_0.5.1_train.json"


def read(path: Path, split: str = "train", **options: Any) -> Table:
    return textvqa.Config(path=str(path), **options).build(split=split)


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


def test_version_0_5_1_field_by_field(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert set(detect(path)) == set(detect(path / TRAIN)) == {"textvqa"}
    assert "OCR" not in detect(path)["textvqa"]
    for split, numbers in (("train", range(6)), ("val", range(6, 7))):
        table = read(path, split)
        assert len(table) == len(numbers)
        assert not table.faults
        for number, (record,) in zip(numbers, table, strict=True):
            assert (record.id, record.split) == (str(34602 + number), common_split(split))
            assert record.group == f"train_images/{written.image(number)}.jpg"
            assert is_colour(record.images[0].source, number)
            assert record.question == "what is the color of the sign?"
            assert record.answers == (list(written.COLOURS)[number],)
            assert record.references == tuple(written.answers_of(number))
            assert record.regions == ()
            assert record.tags == {}


@pytest.mark.parametrize("answers", ["absent", None, []])
def test_the_test_has_no_answers(tmp_path: Path, answers: Any) -> None:
    path = written.write(tmp_path)
    file = path / "TextVQA_0.5.1_test.json"
    if answers != "absent":
        edited(file, lambda v: v["data"][0].update(answers=answers))
    assert len(read(path, "test")) == 0
    (record,) = read(file, labelled=False)[0]
    assert (record.group, record.answers) == (f"test_images/{written.image(7)}.jpg", ())


def test_a_file_of_another_name_has_the_split_that_it_says_inside(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    (path / TRAIN).rename(path / "questions.json")
    assert set(detect(path / "questions.json")) == {"textvqa"}
    assert len(read(path / "questions.json")) == 6
    assert [len(read(path, split)) for split in ("train", "val")] == [6, 1]


def test_gzip_reads_the_same(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    (path / f"{TRAIN}.gz").write_bytes(gzip.compress((path / TRAIN).read_bytes()))
    (path / TRAIN).unlink()
    assert len(read(path)) == 6


def test_pictures_in_another_folder(tmp_path: Path) -> None:
    path = written.write(tmp_path / "set")
    (path / "train_images").rename(tmp_path / "pictures")
    with pytest.raises(DataError, match=r"all 6 rows are bad(.|\n)*_train\.json:0: image: "):
        read(path)
    assert len(read(path, image_root=str(tmp_path / "pictures"))) == 6


BROKEN = [
    (lambda v: v.__setitem__(0, 5), "wrong_type", ""),
    (lambda v: v.__setitem__(0, None), "wrong_type", ""),
    (lambda v: v[0].pop("image_id"), "missing_field", "image_id"),
    (lambda v: v[0].update(image_id=3), "wrong_type", "image_id"),
    (lambda v: v[0].update(image_id="../../etc/passwd"), "image_path", "image"),
    (lambda v: v[0].update(image_id="none"), "image_missing", "image"),
    (lambda v: v[0].pop("question"), "missing_field", "question"),
    (lambda v: v[0].update(question={}), "wrong_type", "question"),
    (lambda v: v[0].update(question_id=[1]), "wrong_type", "id"),
    (lambda v: v[0].pop("answers"), "missing_field", "answers"),
    (lambda v: v[0].update(answers=None), "missing_field", "answers"),
    (lambda v: v[0].update(answers="red"), "wrong_type", "answers"),
    (lambda v: v[0].update(answers=[]), "empty_field", "answers"),
    (lambda v: v[0].update(answers=["red", []]), "wrong_type", "references"),
    (lambda v: v[0].update(answers=[{}]), "empty_field", "answers"),
]


@pytest.mark.parametrize(("edit", "code", "field"), BROKEN)
def test_a_broken_question_is_one_fault_with_its_place(
    tmp_path: Path, edit: Any, code: str, field: str
) -> None:
    path = written.write(tmp_path)
    file = edited(path / TRAIN, lambda v: edit(v["data"]))
    table = read(path)
    (fault,) = table.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 0, code, field)
    assert [record.id for (record,) in table] == [str(34602 + n) for n in range(1, 6)]
    with pytest.raises(DataError, match=r"TextVQA_0\.5\.1_train\.json:0"):
        read(path, strict=True)


@pytest.mark.parametrize("set_name", [3, "trian"])
def test_a_split_that_is_none(tmp_path: Path, set_name: Any) -> None:
    path = written.write(tmp_path)
    (path / TRAIN).rename(path / "questions.json")
    edited(path / "questions.json", lambda v: v["data"][2].update(set_name=set_name))
    (fault,) = read(path / "questions.json").faults
    assert (fault.line, fault.field) == (2, "split")


@pytest.mark.parametrize("keep", [0.99, 0.6])
def test_a_file_that_is_cut_is_an_error_with_its_place(tmp_path: Path, keep: float) -> None:
    file = written.write(tmp_path) / TRAIN
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"TextVQA_0\.5\.1_train\.json: character \d+: "):
        read(tmp_path)


def test_other_files_are_said_to_be_others(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    with pytest.raises(DataError, match=r"OCR_v0\.2_train\.json: does not have the fields of TextVQA"):
        read(path / "TextVQA_Rosetta_OCR_v0.2_train.json")
