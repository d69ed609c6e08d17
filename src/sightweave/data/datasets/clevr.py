"""CLEVR: questions about rendered scenes, each with the program that computes the answer.

Johnson et al. 2017 (arXiv:1612.06890). The variant CoGenT has parts A and B, in which objects have different colours.
CLEVR-Humans (Johnson et al. 2017, arXiv:1705.03633) has questions written by people. Scene files give the position of each
object but no box, so no regions are read.
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
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in json_files(path) if _is_questions(file)]
    return f"questions in {among(found)}" if found else ""


def _is_questions(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    return kind == "object" and {"questions", "image_filename", "question"} <= keys


@config
class Config(FilesConfig):
    """A folder that contains ``questions`` and ``images``, or one question file."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per question.

        Raises:
            DataError: A file is damaged.
        """
        path = Path(self.path).expanduser()
        found = [file for file in json_files(path) if _is_questions(file)]
        if not found:
            raise json_stream.missing(path, "CLEVR_*_questions.json")

        for file in found:
            name, part = _split(file)
            if not split or not name or name == split or self.split:
                yield from _read_questions(file, name, part or name)


def _split(file: Path) -> tuple[str, str]:
    """The split in a file's name, and for CoGenT also the name of the part, such as trainA."""
    found = re.search(r"_((train|val|test)[AB])(?![a-z])", file.name)
    return (common_split(found[2]), found[1]) if found else (split_of(file), "")


def _read_questions(file: Path, split: str, part: str) -> Iterator[Row]:
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
    own_split = one.get("split")
    part = own_split if isinstance(own_split, str) and own_split else part

    values: dict[str, Any] = {
        # Questions are numbered from 0 in each file.
        "id": f"{part or 'question'}-{one.get('question_index', number)}",
        "image": f"images/{part}/{name}" if part else f"images/{name}",
        "question": one.get("question"),
        "tags": _tags(one),
    }
    if split or own_split:
        values["split"] = split or own_split
    if one.get("answer") is not None:
        values["answer"] = one["answer"]
    elif "answer" not in one and values.get("split") == "test":
        values["unlabelled"] = True
    return values


def _tags(one: dict[str, Any]) -> dict[str, str]:
    """The ``type`` and ``family`` tags of a question; the type is the last function of its program, or else its family."""
    family = one.get("question_family_index")
    tags = {}
    if isinstance(family, int) and not isinstance(family, bool):
        tags = {"type": str(family), "family": str(family)}

    program = one.get("program")
    if program is None or program == []:
        return tags

    # The field is called "function" in the published files, and "type" in files made with the official generator.
    last = program[-1] if isinstance(program, list) else None
    function = last.get("function", last.get("type")) if isinstance(last, dict) else None
    if not isinstance(function, str) or not function:
        message = f"must be a list of steps that each have a function (got {shown(program)})."
        raise RowError("wrong_type", "program", program, message)
    return {**tags, "type": function}
