"""What a notebook shows of an answer, of scores, of a run and of a check of data: pieces of HTML that need nothing else.

Colours are those of the page around them, so that light and dark themes both fit. Texts are escaped and cut, pictures are
small: what they show is not trusted, and a notebook keeps every output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightweave.core.terminal import visible
from sightweave.core.verdicts import HARDLY, NO
from sightweave.pages import page, scores
from sightweave.pages.compared import Table
from sightweave.pages.values import text

SIDE = 160
"""Pixels of the longer side of a picture."""
MOST = 20
"""Answers, scores or findings that are shown of a longer list."""
ANSWERS = 6
"""Answers that are shown with the scores of a split."""
_LETTERS = 400
"""Characters of one text."""


class Shown(list[Any]):
    """A list whose members a notebook shows as it shows each alone; everywhere else it is a list."""

    def _repr_html_(self) -> str:
        members = [one._repr_html_() for one in self[:MOST] if hasattr(one, "_repr_html_")]
        more = len(self) - MOST
        return "".join([*members, f"<p>... and {more} more</p>" if more > 0 else ""])


def answer(prompt: str, said: str, *, pictures: Sequence[str] = (), about: Sequence[str] = ()) -> str:
    """One answer, with the pictures that were asked about.

    Args:
        prompt: The question; empty where it is not known.
        said: The answer.
        pictures: Their addresses (``data:``).
        about: What else is known of it, in words.
    """
    one = {
        "pictures": pictures[:ANSWERS],
        "prompt": cut(prompt),
        "said": cut(said),
        "about": [cut(words) for words in about],
        "mark": "",
    }
    return _filled(answers=[one])


def evaluation(
    found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, str]
) -> str:
    """The scores of one split, with a few answers.

    Args:
        found: As ``Evaluation.to_json`` gives it.
        rows: Of ``predictions.jsonl``, those to show.
        pictures: Their addresses by the key that rows give as ``image``.
    """
    return _filled(splits=[_split(found)], answers=[_row(row, pictures) for row in rows[:ANSWERS]])


def run(
    title: str,
    facts: Mapping[str, Any],
    evaluations: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, str],
) -> str:
    """A run: what it is, its scores, and a few answers; arguments as for `evaluation`."""
    return _filled(
        title=cut(title),
        facts=[(name, cut(value)) for name, value, _ in page.facts(facts)],
        splits=[_split(found) for found in evaluations[:MOST]],
        answers=[_row(row, pictures) for row in rows[:ANSWERS]],
    )


def check(found: Mapping[str, Any], facts: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """What a check of data found.

    Args:
        found: As the doctor's ``Report.to_json`` gives it.
        facts: Counts, by name.
        pictures: Addresses of the pictures that examples name.
    """
    findings = [
        {
            "name": f"{one['severity']}: {one['code']}".replace("_", " "),
            "count": text(one["count"]),
            "advice": cut(one["advice"]),
            "examples": [cut(_place(example)) for example in one["examples"][:_EXAMPLES]],
            "pictures": [pictures[key] for key in _keys(one["examples"])[:_EXAMPLES] if key in pictures],
        }
        for one in found["findings"][:MOST]
    ]
    return _filled(
        title=cut(found["verdict"]),
        facts=[(name, cut(value)) for name, value, _ in page.facts(facts)],
        findings=findings,
        more=max(0, len(found["findings"]) - MOST),
    )


def tables(title: str, given: Sequence[Table]) -> str:
    """Tables below one another, such as those of a comparison."""
    shown = [
        {
            "title": cut(table.title),
            "heads": [cut(head) for head in table.heads],
            "rows": [[cut(cell) for cell in row] for row in table.rows[:MOST]],
            "words": table.words,
            "note": cut(table.note),
        }
        for table in given
    ]
    return _filled(title=cut(title), tables=shown)


_EXAMPLES = 3


def _place(example: Mapping[str, Any]) -> str:
    place = "" if example.get("line") is None else f"{example['file']}:{example['line']}: "
    return place + str(example["message"])


def _keys(examples: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(one["picture"] for one in examples if one.get("picture")))


def cut(words: object) -> str:
    """A text of bounded length."""
    shown = str(words)
    return shown if len(shown) <= _LETTERS else f"{shown[:_LETTERS]} ..."


def _split(found: Mapping[str, Any]) -> dict[str, Any]:
    (can,) = scores.can([found])
    return {
        **can,
        "split": cut(can["split"]),
        "headline": cut(can["headline"]),
        "tasks": [
            {**task, "name": cut(task["name"]), "unit": cut(task["unit"])} for task in can["tasks"][:MOST]
        ],
        "notes": [cut(note) for note in (*_why(found), *(found.get("notes") or ()))[:ANSWERS]],
    }


def _why(found: Mapping[str, Any]) -> list[str]:
    """Why no use of the image is shown, or a small one only, of each task where that is so."""
    return [
        task["sentence"]
        for task in found.get("tasks") or ()
        if task.get("uses_image") in (NO, HARDLY) and task.get("needs_image", True) and task.get("sentence")
    ]


def _row(row: Mapping[str, Any], pictures: Mapping[str, str]) -> dict[str, Any]:
    right = "" if row.get("right") else " | ".join(map(str, row.get("references") or ()))
    address = pictures.get(row.get("image") or "")
    return {
        "pictures": [address] if address else [],
        "prompt": cut(row.get("prompt", "")),
        "said": cut(row.get("answer", "")),
        "mark": "correct" if row.get("right") else "wrong",
        "about": [f"right: {cut(right)}"] if right else [],
    }


def _filled(**parts: Any) -> str:
    empty: dict[str, Any] = {
        "title": "",
        "facts": [],
        "splits": [],
        "answers": [],
        "findings": [],
        "more": 0,
        "tables": [],
    }
    html: str = page.environment().get_template("notebook.html.jinja").render(**(empty | parts), side=SIDE)
    return visible(html)  # characters that move or hide what is around them are told by their names
