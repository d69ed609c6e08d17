"""VLMEvalKit's tables: options, letters, pictures in base64 and by reference; and bad rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_sets import vlmevalkit as written
from data_sets._colours import COLOURS, picture

from sightweave.core.errors import DataError
from sightweave.data.datasets import vlmevalkit
from sightweave.data.inputs import image_files
from sightweave.data.reading.detect import detect


def build(path: Path, which: str = "train", **options: Any) -> Any:
    return vlmevalkit.Config(path=str(path), **options).build(split=which)


def read(folder: Path, *rows: dict[str, str]) -> Any:
    return build(written.write_rows(folder / "a.tsv", list(rows)), split="train")


def test_questions_with_options(tmp_path: Path) -> None:
    dataset = build(written.write(tmp_path))
    assert len(dataset) == 6
    for number, (colour, records) in enumerate(zip(list(COLOURS)[:6], dataset, strict=True)):
        record = records[0]
        assert (record.id, record.answers) == (str(number), (colour,))
        assert len(record.options) == 4
        assert record.options[number % 4] == colour
        assert record.tags == {"type": "colour" if number % 2 else "shade", "l2-category": "perception"}
        assert record.images[0].key == f"Colours.tsv#{number}"
        assert record.images[0].source() == picture(colour)
    first, again = dataset[0]
    assert first.question == 'Say "none"\nwhere it has none.\nWhich colour is it?'
    assert (again.id, again.question) == ("8", "And which is it now?")
    assert image_files.digest(again.images[0]) == image_files.digest(first.images[0])
    assert [r.id for (r,) in build(tmp_path, "test")] == ["6", "7"]


def test_it_is_recognised(tmp_path: Path) -> None:
    file = written.write(tmp_path)
    assert detect(tmp_path) == detect(file) == {"vlmevalkit": "index, question and images in Colours.tsv"}


def test_a_reference_may_come_before_its_row(tmp_path: Path) -> None:
    ((first, _),) = read(tmp_path, written.row(1, "red", "") | {"image": "2"}, written.row(2, "blue", ""))
    assert (first.id, first.images[0].key) == ("1", "a.tsv#2")
    assert first.images[0].source() == picture("blue")


def test_several_pictures_and_paths(tmp_path: Path) -> None:
    both = repr([written.encoded("red"), written.encoded("blue")])
    (tmp_path / "p.jpg").write_bytes(picture("green"))
    rows = [
        written.row(1, "red", "") | {"image": both},
        written.row(2, "red", "") | {"image": "", "image_path": "['p.jpg']"},
        written.row(3, "red", "") | {"image": "data:image/jpeg;base64," + written.encoded("black")},
    ]
    (two,), (path,), (url,) = read(tmp_path, *rows)
    assert [image.key for image in two.images] == ["a.tsv#1.0", "a.tsv#1.1"]
    assert two.images[1].source() == picture("blue")
    assert path.images[0].source == tmp_path.resolve() / "p.jpg"
    assert url.images[0].source() == picture("black")


def test_open_questions_and_rows_without_answers(tmp_path: Path) -> None:
    no = {"A": "", "B": "", "C": "", "D": ""}
    rows = [written.row(1, "red", "") | no | {"answer": "Yes"}, written.row(2, "blue", "") | {"answer": ""}]
    dataset = read(tmp_path, *rows)
    ((record,),) = dataset
    assert (record.answers, record.options) == (("Yes",), ())
    assert "1 rows have no answer and were not read" in " ".join(dataset.notes)
    assert len(build(tmp_path, labelled=False)) == 2


def test_letters_name_columns_even_where_one_is_empty(tmp_path: Path) -> None:
    ((record,),) = read(tmp_path, written.row(3, "red", "") | {"A": "", "D": "red", "answer": "D"})
    assert record.answers == ("red",)
    assert len(record.options) == 3


def test_the_split_may_stand_in_the_name(tmp_path: Path) -> None:
    written.write_rows(tmp_path / "MMBench_DEV_EN.tsv", [written.row(1, "red", "")])
    ((record,),) = build(tmp_path, "val")
    assert record.split == "validation"


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"index": ""}, "missing_field", "index"),
        ({"question": ""}, "missing_field", "question"),
        ({"answer": "E"}, "bad_answer", "answer"),
        ({"image": "", "image_path": ""}, "missing_field", "image"),
        ({"image": "77"}, "bad_reference", "image"),
        ({"image": "1"}, "bad_reference", "image"),
        ({"image": "*" * 100}, "invalid_base64", "image"),
        ({"image": "AAAA" * 100}, "image_unsupported_format", "image"),
        ({"image": "", "image_path": "../x.jpg"}, "image_path", "image"),
    ],
)
def test_bad_rows_are_faults_with_their_line(tmp_path: Path, change: Any, code: str, field: str) -> None:
    dataset = read(tmp_path, written.row(0, "red", "") | {"hint": ""}, written.row(1, "blue", "") | change)
    assert len(dataset) == 1
    (fault,) = dataset.faults
    assert (fault.file, fault.line, fault.code, fault.field) == (str(tmp_path / "a.tsv"), 3, code, field)


def test_another_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("question\tanswer\n1\t2\n")
    assert detect(tmp_path) == {}
    with pytest.raises(DataError, match=r": no \.tsv found with the columns index, question, and image"):
        build(tmp_path)
