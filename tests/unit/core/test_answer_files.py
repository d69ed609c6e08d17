"""Answers as JSON lines and as tables; what is not ours is left alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from sightweave.core import answer_files
from sightweave.core.errors import FolderError
from sightweave.data.reading import row_files

ROWS = [
    {"id": "7", "image": "a.png", "prompt": 'Say "x", or\nnothing', "answer": "é,\u2028 b", "logprob": -0.25},
    {"image": None, "prompt": "What?", "answer": "", "logprob": None, "references": ("a", "b")},
]


def test_a_table_reads_back_by_any_reader_and_by_ours(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    assert list(answer_files.write(path, ROWS, more=("expected",))) == ROWS
    with path.open(newline="", encoding="utf-8") as stream:
        first, second = csv.DictReader(stream)
    assert first == {
        "id": "7",
        "image": "a.png",
        "question": 'Say "x", or\nnothing',
        "answer": "é,\u2028 b",
        "logprob": "-0.25",
        "expected": "",
    }
    assert (second["image"], second["answer"], json.loads(second["expected"])) == ("", "", ["a", "b"])
    own = [row.values for row in row_files.read(path)]
    assert own[0] == {name: value for name, value in first.items() if value}
    assert own[1] == {"question": "What?", "expected": ["a", "b"]}


def test_other_names_are_lines_of_json(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    list(answer_files.write(path, ROWS[:1]))
    assert [json.loads(line) for line in path.read_text().split("\n")[:-1]] == ROWS[:1]


@pytest.mark.parametrize("name", ["answers.csv", "answers.jsonl"])
def test_only_files_of_ours_are_overwritten(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    answer_files.check(path)
    list(answer_files.write(path, ROWS))
    answer_files.check(path)
    path.write_text("id,image\n1,a.png\n")
    with pytest.raises(FolderError, match=": this file was not written by Sightweave and would be"):
        answer_files.check(path)
    with pytest.raises(FolderError, match="is a folder"):
        answer_files.check(tmp_path)


def test_a_half_of_a_pair_of_surrogates_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    list(answer_files.write(path, [{"prompt": "What?", "answer": "\ud800"}]))
    assert path.read_text(encoding="utf-8").splitlines()[1] == ",,What?,?,"
