"""NLVR2 field by field: two pictures a row, names that lie, and what is said of broken lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_sets import nlvr2 as written
from PIL import Image

from sightweave.core.errors import DataError
from sightweave.data.datasets import nlvr2
from sightweave.data.reading.dataset import task_of
from sightweave.data.reading.detect import detect
from sightweave.data.reading.splits import common_split
from sightweave.data.reading.table import Table


def read(path: Path, split: str = "train", **options: Any) -> Table:
    return nlvr2.Config(path=str(path), **options).build(split=split)


def changed(path: Path, number: int, edit: Any) -> Path:
    """A file with one of its lines, counted from 0, as `edit` gives it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[number])
    new = edit(row)
    lines[number] = new if isinstance(new, str) else json.dumps(row)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def is_colour(path: Path, number: int) -> bool:
    with Image.open(path) as picture:
        found = picture.convert("RGB").getpixel((5, 5))
    wanted = list(written.COLOURS.values())[number]
    return all(abs(a - b) < 8 for a, b in zip(found, wanted, strict=True))


def test_field_by_field(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert set(detect(path)) == set(detect(path / "data/dev.json")) == {"nlvr2"}
    for split, name in (("train", "train"), ("val", "dev"), ("test", "test1")):
        table = read(path, split)
        assert len(table) == len(written.PAIRS[name])
        assert not table.faults
        assert not table.notes
        for number, (pair, (true, false)) in enumerate(zip(written.PAIRS[name], table, strict=True)):
            mark = f"{name}-1017{number // 2}-{number % 2}"
            folder = f"images/train/{number}" if name == "train" else f"images/{name}"
            assert (true.id, false.id) == (f"{mark}-0", f"{mark}-1")
            assert [image.key for image in true.images] == [f"{folder}/{mark}-img{i}.png" for i in (0, 1)]
            for image, colour in zip(true.images, pair, strict=True):
                assert is_colour(image.source, colour)
            assert true.split == common_split(split)
            assert task_of(true) == "vqa"
            assert true.question == f"The left image is {list(written.COLOURS)[pair[0]]}."
            assert (true.answers, false.answers) == (("True",), ("False",))
            assert true.options == false.options == ("True", "False")


def test_a_sentence_has_one_consistency_group_over_its_pairs(tmp_path: Path) -> None:
    """As the official evaluation does it: the number of the pair is left out, that of the sentence stays."""
    tags = [record.tags for group in read(written.write(tmp_path)) for record in group]
    assert [one["consistency"] for one in tags] == [
        "train-10170-0", "train-10170-1", "train-10170-0", "train-10170-1", "train-10171-0", "train-10171-1",
    ]  # fmt: skip
    assert [one["pair"] for one in tags[:3]] == ["train-10170-0", "train-10170-0", "train-10170-1"]


def test_some_pictures_are_no_png(tmp_path: Path) -> None:
    record = read(written.write(tmp_path))[0][0]
    heads = [image.source.read_bytes()[:4] for image in record.images]
    assert heads == [b"\xff\xd8\xff\xe0", b"\x89PNG"]


def test_one_file_finds_pictures_beside_its_folder(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    assert len(read(path / "data/train.json")) == 3
    assert len(read(path / "data")) == 3
    assert len(read(path / "data/balanced/balanced_dev.json", "val")[0]) == 1


def test_pictures_all_in_one_folder_or_elsewhere(tmp_path: Path) -> None:
    path = written.write(tmp_path / "set")
    (tmp_path / "all").mkdir()
    for picture in sorted((path / "images").rglob("*.png")):
        picture.rename(tmp_path / "all" / picture.name)
    with pytest.raises(DataError, match=r"all 6 rows are bad(.|\n)*train\.json:1: image: "):
        read(path)
    assert read(path, image_root=str(tmp_path / "all"))[0][0].images[1].key == "train-10170-0-img1.png"


def test_a_hidden_test_has_no_labels(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    for number in (0, 1):
        changed(path / "data/test1.json", number, lambda row: row.pop("label") and None)
    assert len(read(path, "test")) == 0
    assert [record.answers for record in read(path / "data/test1.json", labelled=False)[0]] == [(), ()]


def test_labels_as_json_has_them(tmp_path: Path) -> None:
    path = written.write(tmp_path)
    changed(path / "data/train.json", 0, lambda row: row.update(label=True))
    assert read(path)[0][0].answers == ("True",)


BROKEN = [
    (lambda row: "5", "wrong_type", ""),
    (lambda row: "[]", "wrong_type", ""),
    (lambda row: '{"sentence": "cut', "bad_json", ""),
    (lambda row: '{"label": NaN}', "missing_field", "identifier"),
    (lambda row: '{"label": "True", "label": "False"}', "duplicate_field", "label"),
    (lambda row: row.pop("identifier") and None, "missing_field", "identifier"),
    (lambda row: row.update(identifier=5), "wrong_type", "identifier"),
    (lambda row: row.update(identifier="train-1-2"), "wrong_type", "identifier"),
    (lambda row: row.update(identifier="train-1--2"), "wrong_type", "identifier"),
    (lambda row: row.update(identifier="../train-1-2-3"), "image_path", "image"),
    (lambda row: row.update(identifier="train-9-9-0"), "image_missing", "image"),
    (lambda row: row.pop("sentence") and None, "missing_field", "question"),
    (lambda row: row.update(sentence=3), "wrong_type", "question"),
    (lambda row: row.pop("label") and None, "missing_field", "label"),
    (lambda row: row.update(label="yes"), "wrong_type", "label"),
    (lambda row: row.update(label=["True"]), "wrong_type", "label"),
    (lambda row: row.update(label={"a": 1}), "wrong_type", "label"),
]


@pytest.mark.parametrize(("edit", "code", "field"), BROKEN)
def test_a_broken_line_is_one_fault_with_its_place(tmp_path: Path, edit: Any, code: str, field: str) -> None:
    path = written.write(tmp_path)
    file = changed(path / "data/train.json", 2, edit)
    table = read(path)
    (fault,) = table.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(file), 3, code, field)
    assert sum(len(group) for group in table) == 5
    with pytest.raises(DataError, match=r"train\.json:3"):
        read(path, strict=True)


def test_a_cut_file_loses_its_last_line_and_says_so(tmp_path: Path) -> None:
    file = written.write(tmp_path) / "data/train.json"
    file.write_bytes(file.read_bytes()[:-20])
    (fault,) = read(tmp_path).faults
    assert (fault.line, fault.code) == (6, "bad_json")


def test_nothing_of_it_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"sentence": "A dog."}\n')
    with pytest.raises(DataError, match="expected JSON lines with sentence, identifier"):
        read(tmp_path)
