"""Self-contained pieces of HTML with which a notebook displays answers, scores, runs and data checks.

Colours are inherited from the page around them, so that light and dark themes both work. Texts are escaped and cut and
images are small, because their content is not trusted and a notebook stores every output.
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
"""Longer side of an image, in pixels."""
MOST = 20
"""Maximum number of answers, scores or findings shown from a list."""
ANSWERS = 6
"""Maximum number of answers shown with the scores of a split."""
_MAX_TEXT = 400
"""Maximum number of characters of one text."""


class Shown(list[Any]):
    """A list that a notebook displays as the HTML of its members."""

    def _repr_html_(self) -> str:
        html = "".join(one._repr_html_() for one in self[:MOST] if hasattr(one, "_repr_html_"))
        more = len(self) - MOST
        return f"{html}<p>... and {more} more</p>" if more > 0 else html


def answer(prompt: str, said: str, *, pictures: Sequence[str] = (), about: Sequence[str] = ()) -> str:
    """HTML of one answer, with the images it is about.

    Args:
        prompt: The question; empty if not known.
        said: Text of the answer.
        pictures: Addresses of the images (``data:``).
        about: Further facts about the answer.
    """
    one = {
        "pictures": pictures[:ANSWERS],
        "prompt": cut(prompt),
        "said": cut(said),
        "about": list(map(cut, about)),
        "mark": "",
    }
    return _filled(answers=[one])


def evaluation(
    found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, str]
) -> str:
    """HTML of the scores of one split, with a few answers.

    Args:
        found: The output of ``Evaluation.to_json``.
        rows: The rows of ``predictions.jsonl`` to show.
        pictures: Addresses of the images, by the ``image`` key of the rows.
    """
    return _filled(splits=[_split(found)], answers=_rows(rows, pictures))


def run(
    title: str,
    facts: Mapping[str, Any],
    evaluations: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, str],
) -> str:
    """HTML of a run: its facts, its scores, and a few answers.

    Args:
        title: The run's name.
        facts: Facts about the run by name.
        evaluations: The output of ``Evaluation.to_json`` for each split.
        rows: The rows of ``predictions.jsonl`` to show.
        pictures: Addresses of the images, by the ``image`` key of the rows.
    """
    return _filled(
        title=cut(title),
        facts=_facts(facts),
        splits=list(map(_split, evaluations[:MOST])),
        answers=_rows(rows, pictures),
    )


def check(found: Mapping[str, Any], facts: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """HTML of the findings of a data check.

    Args:
        found: The output of the doctor's ``Report.to_json``.
        facts: Counts by name.
        pictures: Addresses of the images in the examples, by key.
    """
    findings = []
    for one in found["findings"][:MOST]:
        keys = _keys(one["examples"])[:_EXAMPLES]
        finding = {
            "name": f"{one['severity']}: {one['code']}".replace("_", " "),
            "count": text(one["count"]),
            "advice": cut(one["advice"]),
            "examples": list(map(_described, one["examples"][:_EXAMPLES])),
            "pictures": [pictures[key] for key in keys if key in pictures],
        }
        findings.append(finding)

    return _filled(
        title=cut(found["verdict"]),
        facts=_facts(facts),
        findings=findings,
        more=max(0, len(found["findings"]) - MOST),
    )


def tables(title: str, given: Sequence[Table]) -> str:
    """HTML of several tables below one another, such as those of a comparison."""
    shown = []
    for table in given:
        cells = {
            "title": cut(table.title),
            "heads": _cut_all(table.heads),
            "rows": list(map(_cut_all, table.rows[:MOST])),
            "words": table.words,
            "note": cut(table.note),
        }
        shown.append(cells)

    return _filled(title=cut(title), tables=shown)


_EXAMPLES = 3
"""Maximum number of examples shown per finding."""


def _described(example: Mapping[str, Any]) -> str:
    """The message of an example, preceded by its file and line if known."""
    place = "" if example.get("line") is None else f"{example['file']}:{example['line']}: "
    return cut(place + str(example["message"]))


def _keys(examples: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys of the images in the examples, without duplicates."""
    return list(dict.fromkeys(one["picture"] for one in examples if one.get("picture")))


def cut(words: object) -> str:
    """Converts a value to text and cuts it to `_MAX_TEXT` characters."""
    shown = str(words)
    return shown if len(shown) <= _MAX_TEXT else f"{shown[:_MAX_TEXT]} ..."


def _cut_all(texts: Sequence[object]) -> list[str]:
    return list(map(cut, texts))


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, cut(value)) for name, value, _ in page.facts(found)]


def _split(found: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a split as variables of the template, with texts cut."""
    (can,) = scores.can([found])

    tasks = []
    for task in can["tasks"][:MOST]:
        tasks.append({**task, "name": cut(task["name"]), "unit": cut(task["unit"])})

    notes = [*_why(found), *(found.get("notes") or ())]
    return {
        **can,
        "split": cut(can["split"]),
        "headline": cut(can["headline"]),
        "tasks": tasks,
        "notes": _cut_all(notes[:ANSWERS]),
    }


def _why(found: Mapping[str, Any]) -> list[str]:
    """One sentence for each task that needs the image but shows little or no use of it."""
    sentences = []
    for task in found.get("tasks") or ():
        is_weak = task.get("uses_image") in (NO, HARDLY) and task.get("needs_image", True)
        if is_weak and task.get("sentence"):
            sentences.append(task["sentence"])
    return sentences


def _rows(rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, str]) -> list[dict[str, Any]]:
    return [_row(row, pictures) for row in rows[:ANSWERS]]


def _row(row: Mapping[str, Any], pictures: Mapping[str, str]) -> dict[str, Any]:
    """One answer as variables of the template; the right answer is included only if the given one is wrong."""
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
    """Renders the template; parts that are not given are empty."""
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
    return visible(html)  # control characters that would move or hide other text are replaced by their names
