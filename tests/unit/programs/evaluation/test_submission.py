"""Files for evaluation servers: exactly the keys that they read, every id once, and a clear word where one is missing."""

from __future__ import annotations

import json

import pytest

from sightweave.core.errors import DataError
from sightweave.programs.evaluation.submission import write

ROWS = [{"id": "12", "answer": "a cat, sitting"}, {"id": 7, "answer": "\u72d7"}]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("coco", [{"image_id": 12, "caption": "a cat, sitting"}, {"image_id": 7, "caption": "\u72d7"}]),
        ("vqa_v2", [{"question_id": 12, "answer": "a cat, sitting"}, {"question_id": 7, "answer": "\u72d7"}]),
        (
            "textvqa",
            [{"question_id": 12, "answer": "a cat, sitting"}, {"question_id": 7, "answer": "\u72d7"}],
        ),
        (
            "gqa",
            [
                {"questionId": "12", "prediction": "a cat, sitting"},
                {"questionId": "7", "prediction": "\u72d7"},
            ],
        ),
        ("vizwiz", [{"image": "12.jpg", "answer": "a cat, sitting"}, {"image": "7.jpg", "answer": "\u72d7"}]),
    ],
)
def test_layouts(kind: str, expected: list[dict[str, object]]) -> None:
    assert json.loads(write(kind, ROWS)) == expected


def test_nlvr2_takes_two_words() -> None:
    said = {
        "dev-1-0-0": "True",
        "dev-1-1-0": "false.",
        "dev-2-0-0": " Yes. ",
        "dev-3-0-0": "two, dogs",
        "dev-4-0-0": "",
    }
    text = write("nlvr2", [{"id": name, "answer": answer} for name, answer in said.items()])
    assert [line.split(",") for line in text.splitlines()] == [
        ["dev-1-0-0", "true"], ["dev-1-1-0", "false"], ["dev-2-0-0", "true"], ["dev-3-0-0", "false"], ["dev-4-0-0", "false"]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "rows", "words"),
    [
        ("vqa", ROWS, r"no layout 'vqa'\. Did you mean 'vqa_v2'"),
        ("coco", [], "there are no answers"),
        ("coco", [{"answer": "x"}], "answer 0 has no id"),
        ("gqa", [{"id": "", "answer": "x"}], "answer 0 has no id"),
        ("gqa", [{"id": "1", "answer": "x"}, {"id": 1, "answer": "y"}], "duplicate id '1'"),
        ("vqa_v2", [{"id": "n12", "answer": "x"}], "the id 'n12' is no whole number"),
        ("coco", [{"id": "\u0663", "answer": "x"}], "is not a whole number; is this the right dataset?"),
    ],
)
def test_what_cannot_be_handed_in(kind: str, rows: list[dict[str, object]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        write(kind, rows)
