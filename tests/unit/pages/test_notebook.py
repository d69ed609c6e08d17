"""What a notebook shows: self-contained, escaped, bounded."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sightweave.pages import notebook
from sightweave.pages.compared import Table
from sightweave.pages.notebook import Shown

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(1)</script>\"' \u202e\x1b[2J\ud800{{ 7 * 7 }}"
PICTURE = "data:image/png;base64,AAAA"


def score(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def evaluation(**changed: Any) -> dict[str, Any]:
    task = {
        "task": HOSTILE,
        "metric": HOSTILE,
        "score": score(0.5),
        "controls": {"no_image": score(0.2)},
        "gain_over": "no_image",
        "uses_image": "yes",
    }
    found = {"split": HOSTILE, "count": 12, "pictures": 4, "sentence": HOSTILE, "notes": [HOSTILE] * 50}
    return {**found, "tasks": [task], **changed}


def row(number: int, *, is_right: bool) -> dict[str, Any]:
    return {
        "image": f"picture {number}",
        "prompt": HOSTILE,
        "answer": HOSTILE,
        "right": is_right,
        "references": [HOSTILE],
    }


def finding(number: int) -> dict[str, Any]:
    example = {"message": HOSTILE, "file": HOSTILE, "line": 3, "picture": HOSTILE}
    return {
        "code": f"code_{number}",
        "severity": "error",
        "count": 7,
        "advice": HOSTILE,
        "examples": [example] * 5,
    }


PIECES = {
    "answer": notebook.answer(HOSTILE, HOSTILE, pictures=[PICTURE] * 99, about=[HOSTILE]),
    "evaluation": notebook.evaluation(
        evaluation(), [row(n, is_right=n % 2 == 0) for n in range(99)], {"picture 1": PICTURE}
    ),
    "run": notebook.run(HOSTILE, {HOSTILE: HOSTILE}, [evaluation()] * 99, [row(1, is_right=True)], {}),
    "tables": notebook.tables(
        HOSTILE,
        [Table(title=HOSTILE, heads=[HOSTILE, "b"], rows=[[HOSTILE, "1"]] * 99, note=HOSTILE)] * 2,
    ),
    "check": notebook.check(
        {"verdict": HOSTILE, "findings": [finding(n) for n in range(99)]}, {"rows": 5}, {HOSTILE: PICTURE}
    ),
}


@pytest.mark.parametrize("name", PIECES)
def test_nothing_in_a_piece_is_taken_for_markup_or_asks_for_anything(name: str) -> None:
    html = PIECES[name]
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z]+)", html))
    assert tags <= {*["div", "style", "table", "tr", "th", "td", "p", "strong", "bdi", "img"]}
    assert set(re.findall(r'<img src="([^"]*)"', html)) <= {PICTURE}
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "{{ 7 * 7 }}" in html
    assert not re.search("[\u202e\x1b\ud800]", html)
    assert "http" not in html


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_is_small_whatever_is_in_it(name: str) -> None:
    assert len(PIECES[name]) < 60_000
    long = "x" * 1_000_000
    assert len(notebook.answer(long, long, about=["short"])) < 3_000


def test_colours_are_those_of_the_page_around() -> None:
    html = "".join(PIECES.values())
    assert set(re.findall(r"color: ([\w#(]+)", html)) == {"inherit"}
    assert set(re.findall(r"background: (\w+)", html)) == {"none"}


def test_scores_stand_beside_what_is_reached_without_looking() -> None:
    html = notebook.evaluation(evaluation(split="test", sentence="It looks."), [], {})
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", html)
    assert cells[1:] == ["50.0 %", "40.0 to 60.0", "20.0 (no image)", "uses the image"]
    assert "<strong>test</strong>: 12 prompts on 4 images. It looks." in html


def test_why_no_use_of_the_image_is_shown_stands_below_the_table() -> None:
    (task,) = evaluation()["tasks"]
    for shown, changed in (
        (1, {"uses_image": "no"}),
        (1, {"uses_image": "hardly"}),
        (0, {"uses_image": "yes"}),
    ):
        found = evaluation(tasks=[{**task, **changed, "sentence": "Because of it."}])
        assert notebook.evaluation(found, [], {}).count("Because of it.") == shown


def test_answers_say_whether_they_are_right() -> None:
    plain = {"prompt": "What?", "answer": "a dog", "references": ["a cat", "cat"], "image": "a"}
    html = notebook.evaluation(
        evaluation(), [plain | {"right": True}, plain | {"right": False}], {"a": PICTURE}
    )
    assert html.count(PICTURE) == 2
    right, wrong = html.split('<div class="answer">')[1:]
    assert "(correct)" in right
    assert "a cat" not in right
    assert "(wrong)" in wrong
    assert "right: a cat | cat" in wrong


def test_a_list_is_shown_as_its_members_are_and_is_a_list() -> None:
    class Member:
        def _repr_html_(self) -> str:
            return "<p>one</p>"

    members = [Member() for _ in range(notebook.MOST + 3)]
    assert Shown(members) == members
    assert Shown([1, 2]) == [1, 2]
    assert Shown(members)._repr_html_().count("one") == notebook.MOST
    assert "... and 3 more" in Shown(members)._repr_html_()
    assert Shown([])._repr_html_() == ""
