"""Writes answers in the file formats of evaluation servers.

Each format needs the ids of the original dataset, so answers without an id cannot be submitted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sightweave.core import json_lines
from sightweave.core.errors import DataError, did_you_mean

Answers = list[tuple[str, str]]
"""Pairs of an id and an answer."""


def write(kind: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """The text of a submission file.

    Args:
        kind: ``coco``, ``vqa_v2`` (also OK-VQA), ``vizwiz``, ``gqa``, ``textvqa`` or ``nlvr2``.
        rows: Rows with ``id`` and ``answer``, as returned by `answer_all`.

    Raises:
        DataError: the format is unknown, there are no rows, or an id is missing, duplicate, or not a number although
            the format needs one.
    """
    if kind not in LAYOUTS:
        raise DataError(f"submission: no format {kind!r}. {did_you_mean(kind, LAYOUTS)}")

    answers: dict[str, str] = {}
    for number, row in enumerate(rows):
        name = row.get("id")
        if name is None or name == "":
            raise DataError(f"submission {kind}: answer {number} has no id; the data must have ids.")
        if str(name) in answers:
            raise DataError(f"submission {kind}: duplicate id {name!r}; servers accept one answer per id.")
        answers[str(name)] = str(row["answer"])

    if not answers:
        raise DataError(f"submission {kind}: there are no answers.")
    return LAYOUTS[kind](list(answers.items()))


def _number(kind: str, name: str) -> int:
    if not name.isascii() or not name.isdigit():
        raise DataError(
            f"submission {kind}: the id {name!r} is not a whole number; is this the right dataset?"
        )
    return int(name)


def _json(values: list[Any]) -> str:
    return json_lines.dumps(values)


def _coco(answers: Answers) -> str:
    return _json([{"image_id": _number("coco", name), "caption": text} for name, text in answers])


def _vqa(answers: Answers) -> str:
    return _json([{"question_id": _number("vqa_v2", name), "answer": text} for name, text in answers])


def _textvqa(answers: Answers) -> str:
    return _json([{"question_id": _number("textvqa", name), "answer": text} for name, text in answers])


def _vizwiz(answers: Answers) -> str:
    return _json([{"image": f"{name}.jpg", "answer": text} for name, text in answers])


def _gqa(answers: Answers) -> str:
    return _json([{"questionId": name, "prediction": text} for name, text in answers])


def _nlvr2(answers: Answers) -> str:
    """CSV lines of identifier and true or false, the only words that the server accepts; only true and yes give true."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for name, text in answers:
        writer.writerow([name, str(text.strip().rstrip(".").lower() in ("true", "yes")).lower()])
    return stream.getvalue()


LAYOUTS: Mapping[str, Callable[[Answers], str]] = {
    "coco": _coco,
    "vqa_v2": _vqa,
    "vizwiz": _vizwiz,
    "gqa": _gqa,
    "textvqa": _textvqa,
    "nlvr2": _nlvr2,
}
"""Functions that write a submission, by the name of the dataset."""
