"""CLEVR field by field, its relatives, and what is said of broken questions."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from data_sets import clevr as written
from PIL import Image

from sightweave.core.errors import DataError
from sightweave.data.datasets import clevr
from sightweave.data.reading.detect import detect
from sightweave.data.reading.splits import common_split
from sightweave.data.reading.table import Table

TRAIN = "questions/CLEVR_train_questions.json"


def read(path: Path, split: str = "train", **options: Any) -> Table:
    return clevr.Config(path=str(path), **options).build(split=split)


def edited(path: Path, edit: Any) -> Path:
    values = json.loads(path.read_text(encoding="utf-8"))
    edit(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_version_1_field_by_field(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert path.name == "CLEVR_v1.0"
    assert set(detect(path)) == set(detect(tmp_path)) == set(detect(path / TRAIN)) == {"clevr"}
    for split, numbers in (("train", range(6)), ("val", range(6, 7))):
        table = read(path, split)
        assert len(table) == len(numbers)
        assert not table.faults
        for i, (number, (colour, count)) in enumerate(zip(numbers, table, strict=True)):
            assert (colour.id, count.id) == (f"{split}-{2 * i}", f"{split}-{2 * i + 1}")
            assert colour.split == count.split == common_split(split)
            assert colour.group == count.group == f"images/{split}/CLEVR_{split}_{i:06d}.png"
            with Image.open(colour.images[0].source) as picture:
                assert picture.getpixel((3, 3)) == (*list(written.COLOURS.values())[number], 255)
            assert colour.question == "What color is the thing?"
            assert colour.answers == (list(written.COLOURS)[number],)
            assert colour.tags == {"type": "query_color", "family": "76"}
            assert (count.question, count.answers) == ("How many things are there?", ("1",))
            assert count.tags == {"type": "count", "family": "82"}
            assert colour.regions == ()


def test_the_test_has_neither_answers_nor_programs(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert len(read(path, "test")) == 0
    file = path / "questions/CLEVR_test_questions.json"
    assert set(detect(file)) == {"clevr"}
    record, _ = read(file, labelled=False)[0]
    assert (record.id, record.answers, record.tags) == ("test-0", (), {})


def test_one_file_and_the_folder_above_read_the_same(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    for place in (path / TRAIN, tmp_path):
        assert [r.answers for group in read(place) for r in group] == [
            r.answers for g in read(path) for r in g
        ]


def test_gzip_reads_the_same(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    file = path / TRAIN
    file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    assert len(read(path)) == 6


def test_parts_of_cogent(tmp_path: Path) -> None:
    """Their names end in A or B, and so does the split that each question names."""
    path = written.write(tmp_path)
    for split, part in (("train", "trainA"), ("val", "valB")):
        (path / f"images/{split}").rename(path / f"images/{part}")
        file = path / f"questions/CLEVR_{split}_questions.json"
        for picture in (path / f"images/{part}").iterdir():
            picture.rename(picture.with_name(picture.name.replace(split, part)))
        text = file.read_text(encoding="utf-8").replace(f'"{split}"', f'"{part}"')
        file.with_name(f"CLEVR_{part}_questions.json").write_text(text.replace(f"_{split}_", f"_{part}_"))
        file.unlink()
    assert [len(read(path, split)) for split in ("train", "val", "test")] == [6, 1, 0]
    assert read(path, "val")[0][0].group == "images/valB/CLEVR_valB_000000.png"
    assert read(path, "val")[0][0].id == "valB-0"


def test_people_s_questions_have_no_programs(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    rows = [
        {
            "image_index": 0,
            "image_filename": "CLEVR_train_000000.png",
            "question": "Shiny?",
            "answer": "yes",
            "split": "train",
        }
    ]
    file = written.dump(path / "humans/CLEVR-Humans-train.json", {"info": {}, "questions": rows})
    ((record,),) = read(file, image_root=str(path))
    assert (record.id, record.answers, record.tags) == ("train-0", ("yes",), {})


@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (lambda one: one.pop("program"), {"type": "76", "family": "76"}),
        (lambda one: one.update(program=[]), {"type": "76", "family": "76"}),
        (
            lambda one: one.update(program=[{"type": "exist", "inputs": []}]),
            {"type": "exist", "family": "76"},
        ),
        (lambda one: one.pop("question_family_index"), {"type": "query_color"}),
    ],
)
def test_what_the_type_is_taken_from(tmp_path: Path, edit: Any, wanted: dict[str, str]) -> None:
    path = written.write(tmp_path)
    edited(path / TRAIN, lambda v: edit(v["questions"][0]))
    assert read(path)[0][0].tags == wanted


def test_pictures_in_another_folder(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    (path / "images/train").rename(tmp_path / "pictures")
    with pytest.raises(DataError, match=r"all 12 rows are bad(.|\n)*_train_questions\.json:0: image: "):
        read(path)
    assert len(read(path, image_root=str(tmp_path / "pictures"))) == 6


BROKEN = [
    (lambda v: v.__setitem__(0, 5), "wrong_type", ""),
    (lambda v: v.__setitem__(0, None), "wrong_type", ""),
    (lambda v: v[0].pop("image_filename"), "missing_field", "image_filename"),
    (lambda v: v[0].update(image_filename=3), "wrong_type", "image_filename"),
    (lambda v: v[0].update(image_filename="../../../etc/passwd"), "image_path", "image"),
    (lambda v: v[0].update(image_filename="none.png"), "image_missing", "image"),
    (lambda v: v[0].pop("question"), "missing_field", "question"),
    (lambda v: v[0].update(question=1), "wrong_type", "question"),
    (lambda v: v[0].pop("answer"), "missing_field", "answer"),
    (lambda v: v[0].update(answer=None), "missing_field", "answer"),
    (lambda v: v[0].update(answer=[[1]]), "wrong_type", "answer"),
    (lambda v: v[0].update(answer=""), "empty_field", "answer"),
    (lambda v: v[0].update(program="count"), "wrong_type", "program"),
    (lambda v: v[0].update(program=[3]), "wrong_type", "program"),
    (lambda v: v[0].update(program=[{"function": 3}]), "wrong_type", "program"),
]


@pytest.mark.parametrize(("edit", "code", "field"), BROKEN)
def test_a_broken_question_is_one_fault_with_its_place(
    tmp_path: Path, edit: Any, code: str, field: str
) -> None:
    path = written.write(tmp_path)
    file = edited(path / TRAIN, lambda v: edit(v["questions"]))
    table = read(path)
    (fault,) = table.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 0, code, field)
    assert sum(len(group) for group in table) == 11
    with pytest.raises(DataError, match=r"CLEVR_train_questions\.json:0"):
        read(path, strict=True)


@pytest.mark.parametrize("keep", [0.99, 0.5])
def test_a_file_that_is_cut_is_an_error_with_its_place(tmp_path: Path, keep: float) -> None:
    file = written.write(tmp_path) / TRAIN
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=r"CLEVR_train_questions\.json: character \d+: "):
        read(tmp_path)


def test_nothing_of_it_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected CLEVR_\*_questions\.json; found no JSON file"):
        read(tmp_path)
