"""TextVQA: questions about text in images, with ten answers each.

Singh et al. 2019 (arXiv:1904.08920). All ten answers become references; the most common one is the training target. The
separate OCR files (``TextVQA_Rosetta_OCR_*``) are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.data.reading import json_stream
from sightweave.data.reading.file_names import among, json_files, split_of
from sightweave.data.reading.records import most_given
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in json_files(path) if _is_questions(file)]
    return f"questions in {among(found)}" if found else ""


def _is_questions(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    return kind == "object" and {"data", "question_id", "image_id", "question", "set_name"} <= keys


@config
class Config(FilesConfig):
    """A folder with question files and image folders, or one question file."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per question.

        Raises:
            DataError: A file is damaged.
        """
        path = Path(self.path).expanduser()
        found = [file for file in json_files(path) if _is_questions(file)]
        if not found:
            raise json_stream.missing(path, "TextVQA_*.json")

        for file in found:
            name = split_of(file)
            if not split or not name or name == split or self.split:
                yield from _read_questions(file, name)


def _read_questions(file: Path, split: str) -> Iterator[Row]:
    for number, one in enumerate(json_stream.elements(file, "data")):
        values: Any
        try:
            values = _question(one, split)
        except RowError as error:
            values = error
        yield Row(number, values, str(file))


def _question(one: Any, split: str) -> dict[str, Any]:
    if not isinstance(one, dict):
        raise RowError("wrong_type", "", one, f"must be a JSON object (got {shown(one)}).")
    image = one.get("image_id")
    if image is None:
        raise RowError("missing_field", "image_id", None, f"missing. It has: {', '.join(one)}.")
    if not isinstance(image, str):
        raise RowError("wrong_type", "image_id", image, f"must be text (got {shown(image)}).")

    split = split or one.get("set_name") or ""
    values: dict[str, Any] = {
        "id": one.get("question_id"),
        # The validation images are in the folder of the training images.
        "image": f"{'test' if split == 'test' else 'train'}_images/{image}.jpg",
        "question": one.get("question"),
    }
    if split:
        values["split"] = split

    answers = one.get("answers")
    if split == "test" and not answers:
        return {**values, "unlabelled": True}
    if answers is None:
        raise RowError("missing_field", "answers", None, f"missing. It has: {', '.join(one)}.")
    if not isinstance(answers, list):
        raise RowError("wrong_type", "answers", answers, f"must be a list of texts (got {shown(answers)}).")
    return {**values, "answers": most_given(answers), "references": answers}
