"""Multiple choice is read in the layouts that benchmarks have, and a row that could be read in two ways is left out."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from data_sets import parquet as tables
from data_sets import webdataset as shards
from PIL import Image

from sightweave.data.datasets import imagefolder, own, parquet, webdataset
from sightweave.data.reading.choice_columns import Convention, Options, columns, listed, options_of
from sightweave.data.reading.row_files import RowError

CATS = ("cat", "dog", "cow", "hen")


def picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def in_table(folder: Path, rows: list[dict[str, Any]]) -> Any:
    """The rows of a parquet file, each about a picture of its own."""
    made = [
        {
            "image": {"bytes": picture(f"#{number:06x}"), "path": None},
            "question": f"Which is {number}?",
            **row,
        }
        for number, row in enumerate(rows)
    ]
    path = tables.write_table(folder / "train.parquet", made, None)
    return parquet.Config(path=str(path), split="train").build(split="train")


def read(dataset: Any) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(record.options, record.answers) for group in dataset for record in group]


@pytest.mark.parametrize(
    "cells",
    [
        {"options": ["cat", "dog", "cow", "hen"]},
        {"options": "['cat', \"dog\", 'cow', 'hen']"},
        {"options": '["cat", "dog", "cow", "hen"]'},
        {"options": "['cat' 'dog'\n 'cow' 'hen']"},
        {"choices": "A. cat\nB. dog\nC. cow\nD. hen"},
        {"options": "(A) cat (B) dog (C) cow (D) hen"},
        {"options": "cat\ndog\ncow\nhen"},
        {"options": "cat | dog | cow | hen"},
        {"choices": ["(A) cat", "(B) dog", "(C) cow", "(D) hen"]},
        {"choices": {"text": ["cat", "dog", "cow", "hen"], "label": ["A", "B", "C", "D"]}},
        {"options": {"A": "cat", "B": "dog", "C": "cow", "D": "hen", "E": None}},
        {"options": "{'A': 'cat', 'B': 'dog', 'C': 'cow', 'D': 'hen'}"},
        {"options": [{"label": key, "text": text} for key, text in zip("ABCD", CATS, strict=True)]},
        {"A": "cat", "B": "dog", "C": "cow", "D": "hen", "E": "nan"},
        {"A": "cat", "B": "dog", "C": "cow", "D": "hen", "E": float("nan")},
        {"option_a": "cat", "option_b": "dog", "option_c": "cow", "option_d": "hen"},
        {"optionA": "cat", "optionB": "dog", "optionC": "cow", "optionD": "hen"},
        {"choice_a": "cat", "choice_b": "dog", "choice_c": "cow", "choice_d": "hen"},
        {"choice0": "cat", "choice1": "dog", "choice2": "cow", "choice3": "hen"},
        {"option_1": "cat", "option_2": "dog", "option_3": "cow", "option_4": "hen"},
        {"a0": "cat", "a1": "dog", "a2": "cow", "a3": "hen"},
    ],
)
def test_options_are_found_in_every_layout(cells: dict[str, Any]) -> None:
    found = options_of({"question": "Which?", "image": "1.jpg", "category": "x", **cells})
    assert found is not None
    assert found.texts == CATS
    assert set(columns(cells)) == set(cells)


@pytest.mark.parametrize(
    "cells",
    [
        {"options": None},
        {"options": "[]"},
        {"options": ""},
        {"options": float("nan")},
        {"A": "only"},
        {"answer1": "a cat", "answer2": "cat"},
        {"a": "x", "b": "y"},
        {"x": "1", "y": "2"},
        {"B": "x", "C": "y"},
        {"A": "x", "X": "y"},
    ],
)
def test_other_columns_are_no_options(cells: dict[str, Any]) -> None:
    assert options_of(cells) is None


@pytest.mark.parametrize(
    "value", ["cat, dog", "[x for x in y]", 7, [{"no": "text"}], {"colour": "red"}, "b'x'"]
)
def test_options_that_cannot_be_read_are_a_fault(value: object) -> None:
    with pytest.raises(RowError) as raised:
        options_of({"options": value})
    assert (raised.value.code, raised.value.field) == ("bad_options", "options")


def test_texts_of_any_shape_end_in_options_or_a_fault() -> None:
    for text in (
        "[" * 5000,
        "{" * 5000,
        "['a'" + "," * 5000,
        "[" + "-" * 5000 + "1]",
        "x" * 100_000,
        "['\\ud800']",
    ):
        with contextlib.suppress(RowError):
            assert options_of({"options": text}) is not None
    assert listed("['24/7', '3.4']") == ["24/7", "3.4"]
    assert listed("[a]") == "[a]"


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        (["B", "A", "D"], ["dog", "cat", "hen"]),
        (["(b)", "A.", "Option D"], ["dog", "cat", "hen"]),
        (["B. dog", "cat", "Hen"], ["dog", "cat", "hen"]),
        ([1, 0, 3], ["dog", "cat", "hen"]),
        (["1", "0", "3"], ["dog", "cat", "hen"]),
        ([2, 1, 4], ["dog", "cat", "hen"]),
        ([2.0, 1.0, 4.0], ["dog", "cat", "hen"]),
    ],
)
@pytest.mark.parametrize("layout", ["list", "text", "columns"])
def test_answers_are_letters_texts_and_numbers_from_where_the_table_says(
    tmp_path: Path, answers: list[Any], named: list[str], layout: str
) -> None:
    layouts: dict[str, dict[str, Any]] = {
        "list": {"options": list(CATS)},
        "text": {"options": str(list(CATS))},
        "columns": dict(zip("ABCD", CATS, strict=True)),
    }
    dataset = in_table(tmp_path, [{"answer": answer, **layouts[layout]} for answer in answers])
    assert not dataset.faults
    assert sorted(read(dataset)) == sorted((CATS, (name,)) for name in named)


def test_a_number_that_could_count_from_either_is_left_out_by_name(tmp_path: Path) -> None:
    rows = [{"options": list(CATS), "answer": answer} for answer in (1, 2)]
    rows.append({"options": list(CATS), "answer": None})
    with pytest.raises(Exception, match="may count from 0 or from 1"):
        in_table(tmp_path, rows)
    (tmp_path / "b").mkdir()
    assert [
        answer for _, (answer,) in read(in_table(tmp_path / "b", [*rows[:2], {**rows[0], "answer": 4}]))
    ] == [*("cat", "dog", "hen")]


def test_options_that_are_numbers_do_not_hide_that_answers_are_indices(tmp_path: Path) -> None:
    rows = [
        {"options": ["2", "3", "1"], "answer": "2"},
        {"options": ["sun", "moon", "star"], "answer": "0"},
        {"options": ["oak", "elm", "fir"], "answer": "1"},
    ]
    assert [answer for _, (answer,) in read(in_table(tmp_path, rows))] == ["1", "sun", "elm"]
    texts = [{"options": ["2", "3", "1"], "answer": "2"}, {"options": ["7", "8", "9"], "answer": "9"}]
    (tmp_path / "texts").mkdir()
    assert [answer for _, (answer,) in read(in_table(tmp_path / "texts", texts))] == ["2", "9"]


def test_letters_are_looked_up_by_the_column_and_not_by_its_place() -> None:
    options = options_of({"A": "cat", "B": None, "C": "cow"})
    assert options == Options(("cat", "cow"), ("A", "C"), ("A", "B", "C"))
    assert Convention(list).chosen("C", options) == "cow"
    assert Convention(lambda: [{"A": "cat", "C": "cow", "answer": 0}]).chosen(2, options) == "cow"
    with pytest.raises(RowError, match="'B' is not one of the 2 options"):
        Convention(list).chosen("B", options)


def test_open_questions_of_a_table_of_choices_stay_open(tmp_path: Path) -> None:
    rows = [
        {"options": "['cat', 'dog']", "answer": "B", "question_type": "multiple-choice"},
        {"options": "[]", "answer": "['24/7', '3.4']", "question_type": "open"},
        {"options": "[]", "answer": "B", "question_type": "open"},
    ]
    dataset = in_table(tmp_path, rows)
    assert not dataset.faults
    assert read(dataset) == [(("cat", "dog"), ("dog",)), ((), ("24/7", "3.4")), ((), ("B",))]


def test_rows_of_csv_json_lines_folders_and_shards_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(picture("red"))
    head = "question,A,B,C,D,answer"
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "1.png").write_bytes(picture("red"))
    (tmp_path / "csv" / "data.csv").write_text(
        f"image,{head}\n1.png,Which?,cat,dog,cow,hen,C\n1.png,Who?,cat,,cow,,C\n", encoding="utf-8"
    )
    dataset = own.Config(path=str(tmp_path / "csv"), split="train").build(split="train")
    assert read(dataset) == [(CATS, ("cow",)), (("cat", "cow"), ("cow",))]

    rows = [{"image": "1.png", "question": "?", "choices": str(list(CATS)), "answer": n} for n in (1, 4)]
    (tmp_path / "data.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    assert read(own.Config(path=str(tmp_path), split="train").build(split="train")) == [
        (CATS, ("cat",)), (CATS, ("hen",))
    ]  # fmt: skip
    assert read(own.from_records(rows, image_root=tmp_path, held_out=0, validation=0))[1] == (CATS, ("hen",))

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.png").write_bytes(picture("red"))
    (tmp_path / "folder" / "metadata.csv").write_text(
        f"file_name,{head}\n1.png,Which?,cat,dog,cow,hen,3\n1.png,Who?,cat,dog,cow,hen,0\n", encoding="utf-8"
    )
    dataset = imagefolder.Config(path=str(tmp_path / "folder"), split="train").build(split="train")
    assert read(dataset) == [(CATS, ("hen",)), (CATS, ("cat",))]

    members = []
    for number, answer in enumerate((2, 4)):
        cells = {"question": "?", "options": list(CATS), "answer": answer}
        members += [(f"{number}.png", picture("red")), (f"{number}.json", json.dumps(cells).encode())]
    path = shards.pack(tmp_path / "a.tar", members)
    assert read(webdataset.Config(path=str(path), split="train").build(split="train")) == [
        (CATS, ("dog",)), (CATS, ("hen",))
    ]  # fmt: skip


def test_a_text_where_an_answer_names_no_option_is_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(picture("red"))
    rows: list[dict[str, Any]] = [
        {"image": "1.png", "question": "?", "options": ["cat", "dog"], "answer": "cow"},
        {"image": "1.png", "question": "?", "options": "cat, dog", "answer": "cat"},
        {"image": "1.png", "question": "?", "options": ["cat", "dog"], "answers": ["dog", "a dog"]},
        {"image": "1.png", "question": "!", "options": ["cat", "dog"], "answers": ["dog", "a dog"]},
    ]
    dataset = own.from_records(rows, image_root=tmp_path, held_out=0, validation=0)
    assert [fault.code for fault in dataset.faults] == ["bad_answer", "bad_options"]
    assert read(dataset) == [(("cat", "dog"), ("dog", "a dog"))] * 2
