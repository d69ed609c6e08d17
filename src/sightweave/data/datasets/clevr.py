"""CLEVR: questions about drawn scenes, with the program that answers each.

Johnson et al. 2017 (arXiv:1612.06890); CoGenT, the same with other colours in training and test, has parts A and B;
CLEVR-Humans (Johnson et al. 2017, arXiv:1705.03633) has people's questions. The scene files give objects a place but no
box, so there are no regions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.data.reading import json_stream
from sightweave.data.reading.file_names import among, json_files, split_of
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import common_split


def recognise(path: Path) -> str:
    """Describes the files of this format at or below `path`; empty if there are none."""
    found = [file.name for file in json_files(path) if _is_questions(file)]
    return f"questions in {among(found)}" if found else ""


def _is_questions(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    return kind == "object" and {"questions", "image_filename", "question"} <= keys


@config
class Config(FilesConfig):
    """A folder with ``questions`` and ``images``, or one question file."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row per question.

        Raises:
            DataError: a file is damaged.
        """
        path = Path(self.path).expanduser()
        found = [file for file in json_files(path) if _is_questions(file)]
        if not found:
            raise json_stream.missing(path, "CLEVR_*_questions.json")
        for file in found:
            name, part = _split(file)
            if not split or not name or name == split or self.split:
                yield from _of_questions(file, name, part or name)


def _split(file: Path) -> tuple[str, str]:
    """The split that a file's name says, and where it is one of CoGenT's the name of that part, such as trainA."""
    found = re.search(r"_((train|val|test)[AB])(?![a-z])", file.name)
    return (common_split(found[2]), found[1]) if found else (split_of(file), "")


def _of_questions(file: Path, split: str, part: str) -> Iterator[Row]:
    for number, one in enumerate(json_stream.elements(file, "questions")):
        values: Any
        try:
            values = _question(one, number, split, part)
        except RowError as error:
            values = error
        yield Row(number, values, str(file))


def _question(one: Any, number: int, split: str, part: str) -> dict[str, Any]:
    if not isinstance(one, dict):
        raise RowError("wrong_type", "", one, f"must be a JSON object (got {shown(one)}).")
    name = one.get("image_filename")
    if name is None:
        raise RowError("missing_field", "image_filename", None, f"missing. It has: {', '.join(one)}.")
    if not isinstance(name, str):
        raise RowError("wrong_type", "image_filename", name, f"must be text (got {shown(name)}).")
    mine = one.get("split")
    part = mine if isinstance(mine, str) and mine else part
    # Numbers of questions start anew in each file.
    values: dict[str, Any] = {
        "id": f"{part or 'question'}-{one.get('question_index', number)}",
        "image": f"images/{part}/{name}" if part else f"images/{name}",
        "question": one.get("question"),
        "tags": _tags(one),
    }
    if split or mine:
        values["split"] = split or mine
    if one.get("answer") is not None:
        values["answer"] = one["answer"]
    elif "answer" not in one and values.get("split") == "test":
        values["unlabelled"] = True
    return values


def _tags(one: dict[str, Any]) -> dict[str, str]:
    """``type`` is what the program does last, such as count or query_color; without a program, the family's number."""
    family = one.get("question_family_index")
    tags = {}
    if isinstance(family, int) and not isinstance(family, bool):
        tags = {"type": str(family), "family": str(family)}
    program = one.get("program")
    if program is None or program == []:
        return tags
    last = program[-1] if isinstance(program, list) else None
    # The generator's own files say type where the published ones say function.
    function = last.get("function", last.get("type")) if isinstance(last, dict) else None
    if not isinstance(function, str) or not function:
        message = f"must be a list of steps that each have a function (got {shown(program)})."
        raise RowError("wrong_type", "program", program, message)
    return {**tags, "type": function}
