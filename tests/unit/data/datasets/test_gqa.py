"""GQA field by field: balanced or all questions, scene graphs as regions, and what is said of broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_sets import gqa as written
from PIL import Image

from sightweave.core.errors import DataError
from sightweave.data.datasets import gqa
from sightweave.data.reading.detect import detect
from sightweave.data.reading.splits import common_split
from sightweave.data.reading.table import Table

TRAIN = "questions1.2/train_balanced_questions.json"


def read(path: Path, split: str = "train", **options: Any) -> Table:
    return gqa.Config(path=str(path), **options).build(split=split)


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


def test_balanced_questions_field_by_field(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert set(detect(path)) == set(detect(path / TRAIN)) == {"gqa"}
    for split, numbers in (("train", range(6)), ("val", range(6, 7)), ("test", range(7, 8))):
        table = read(path, split)
        assert len(table) == len(numbers)
        assert not table.faults
        for number, (record,) in zip(numbers, table, strict=True):
            colour = list(written.COLOURS)[number]
            assert (record.id, record.split) == (f"2064464{number}", common_split(split))
            assert record.group == f"images/{written.image(number)}.jpg"
            assert is_colour(record.images[0].source, number)
            assert (record.question, record.answers) == ("What color is the wall?", (colour,))
            assert record.tags == {
                "type": "query",
                "semantic": "attr",
                "detailed": "color",
                "entailed": f"0064464{number}",
                "equivalent": f"2064464{number}",
                "group_global": "color",
            }
            wanted = [
                ((0.0, 0.0, 0.5, 1.0), ("wall", f"{colour} plain wall")),
                ((0.75, 0.25, 1.0, 0.75), ("lamp",)),
            ]
            # testdev has no scene graphs.
            assert [(r.box, r.words) for r in record.regions] == (wanted if split != "test" else [])


def test_all_questions_are_those_of_ten_files(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    folder = path / "questions1.2/train_all_questions"
    assert set(detect(folder)) == {"gqa"}
    table = read(folder)
    assert sorted(record.id for group in table for record in group) == sorted(
        key for number in range(6) for key in written.questions(number)
    )
    assert {record.tags["type"] for group in table for record in group} == {"query", "verify"}
    assert all(len(record.regions) == 2 for group in table for record in group)
    (second,) = [record for record in table[0] if record.tags["type"] == "verify"]
    assert (second.question, second.answers, second.split) == ("Is the wall red?", ("yes",), "train")
    assert "entailed" not in second.tags


def test_all_instead_of_balanced_never_takes_a_question_twice(tmp_path: Path) -> None:
    table = read(written.write(tmp_path), balanced=False)
    ids = [record.id for group in table for record in group]
    assert len(ids) == len(set(ids)) == 12
    assert not table.notes


def test_one_of_the_ten_files(tmp_path: Path) -> None:
    file = written.write(tmp_path) / "questions1.2/train_all_questions/train_all_questions_3.json"
    table = read(file)
    assert [record.id for group in table for record in group] == ["00644641"]
    assert len(table[0][0].regions) == 2


def test_the_folder_of_questions_and_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written.write(tmp_path)
    monkeypatch.chdir(path / "questions1.2")
    for place in (path / "questions1.2", Path(), Path("train_balanced_questions.json")):
        table = read(place)
        assert [len(record.regions) for (record,) in table] == [2] * 6
        assert table[0][0].group == "images/2407890.jpg"


def test_the_test_has_no_answers(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    file = path / "questions1.2/test_balanced_questions.json"
    assert set(detect(file)) == {"gqa"}
    assert "1 rows have no answer" in read(path, "test").notes[0]
    (record,) = read(file, labelled=False)[0]
    assert (record.id, record.answers, record.tags) == ("20644648", (), {})


@pytest.mark.parametrize("name", ["challenge_all_questions.json", "submission_all_questions.json"])
def test_questions_of_the_challenge_are_of_a_test(tmp_path: Path, name: str) -> None:
    path = written.write(tmp_path)
    (path / "questions1.2/test_all_questions.json").rename(path / name)
    assert len(read(path / name, "test")) == 0
    assert len(read(path / name, labelled=False)) == 1


def test_regions_can_be_left_out(tmp_path: Path) -> None:
    table = read(written.write(tmp_path), regions=False)
    assert len(table) == 6
    assert not any(record.regions for (record,) in table)


def test_pictures_in_another_folder(tmp_path: Path) -> None:
    path = written.write(tmp_path / "set")
    (path / "images").rename(tmp_path / "pictures")
    with pytest.raises(
        DataError, match=r"all 6 rows are bad(.|\n)*train_balanced_questions\.json:0: image: "
    ):
        read(path)
    table = read(path, image_root=str(tmp_path / "pictures"))
    assert table[0][0].group == "2407890.jpg"
    assert len(table[0][0].regions) == 2


FIRST = "20644640"
BROKEN_QUESTIONS = [
    (lambda v: v.update({FIRST: 5}), "wrong_type", ""),
    (lambda v: v.update({FIRST: None}), "wrong_type", ""),
    (lambda v: v.update({FIRST: []}), "wrong_type", ""),
    (lambda v: v[FIRST].pop("imageId"), "missing_field", "imageId"),
    (lambda v: v[FIRST].update(imageId=7), "wrong_type", "imageId"),
    (lambda v: v[FIRST].update(imageId="../../etc/passwd"), "image_path", "image"),
    (lambda v: v[FIRST].update(imageId="none"), "image_missing", "image"),
    (lambda v: v[FIRST].pop("question"), "missing_field", "question"),
    (lambda v: v[FIRST].update(question=[]), "wrong_type", "question"),
    (lambda v: v[FIRST].pop("answer"), "missing_field", "answer"),
    (lambda v: v[FIRST].update(answer=None), "missing_field", "answer"),
    (lambda v: v[FIRST].update(answer={}), "wrong_type", "answer"),
    (lambda v: v[FIRST].update(answer=""), "empty_field", "answer"),
    (lambda v: v[FIRST].update(types="query"), "wrong_type", "types"),
    (lambda v: v[FIRST].update(entailed="00644640"), "wrong_type", "entailed"),
    (lambda v: v[FIRST].update(equivalent=[1]), "wrong_type", "equivalent"),
    (lambda v: v[FIRST].update(groups=["color"]), "wrong_type", "groups"),
    (lambda v: v[FIRST]["groups"].update({"global": 3}), "wrong_type", "groups.global"),
]


@pytest.mark.parametrize(("edit", "code", "field"), BROKEN_QUESTIONS)
def test_a_broken_question_is_one_fault_with_its_place(
    tmp_path: Path, edit: Any, code: str, field: str
) -> None:
    path = written.write(tmp_path)
    file = edited(path / TRAIN, edit)
    table = read(path)
    (fault,) = table.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 0, code, field)
    assert [record.id for (record,) in table] == [f"2064464{n}" for n in range(1, 6)]
    with pytest.raises(DataError, match=r"train_balanced_questions\.json:0"):
        read(path, strict=True)


IMAGE = "2407890"
BROKEN_GRAPHS = [
    (lambda v: v.update({IMAGE: 5}), "wrong_type", "", 0),
    (lambda v: v[IMAGE].pop("width"), "wrong_type", "width", 0),
    (lambda v: v[IMAGE].update(height=0), "wrong_type", "height", 0),
    (lambda v: v[IMAGE].update(objects=[]), "wrong_type", "objects", 0),
    (lambda v: v[IMAGE]["objects"].update({"100": 3}), "wrong_type", "objects.100", 1),
    (lambda v: v[IMAGE]["objects"]["100"].update(x="0"), "wrong_type", "objects.100.x", 1),
    (lambda v: v[IMAGE]["objects"]["100"].pop("h"), "wrong_type", "objects.100.h", 1),
    (lambda v: v[IMAGE]["objects"]["100"].update(name=""), "wrong_type", "objects.100.name", 1),
    (lambda v: v[IMAGE]["objects"]["100"].update(attributes=[1]), "wrong_type", "objects.100.attributes", 1),
]


@pytest.mark.parametrize(("edit", "code", "field", "num_left"), BROKEN_GRAPHS)
def test_a_broken_graph_is_said_and_the_questions_stay(
    tmp_path: Path, edit: Any, code: str, field: str, num_left: int
) -> None:
    path = written.write(tmp_path)
    file = edited(path / "sceneGraphs/train_sceneGraphs.json", edit)
    table = read(path)
    (fault,) = table.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 0, code, field)
    assert [len(record.regions) for (record,) in table] == [num_left, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("name", [TRAIN, "sceneGraphs/train_sceneGraphs.json"])
@pytest.mark.parametrize("keep", [0.99, 0.4])
def test_a_file_that_is_cut_is_an_error_with_its_place(tmp_path: Path, name: str, keep: float) -> None:
    path = written.write(tmp_path)
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError, match=rf"{Path(name).name}: character \d+: "):
        read(path)


def test_nothing_of_it_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DataError, match=r"expected \*_questions\.json of GQA; found a\.json"):
        read(tmp_path)
