"""POPE: whether a thing is in the picture, yes or no; the official files, which hold JSON lines and are named ``.json``.

Evaluating Object Hallucination in Large Vision-Language Models (Li et al. 2023, arXiv:2305.10355). Three files ask the
same pictures about things drawn at random, often seen, or often seen beside what is there; which one it is becomes the
type of a question. All of it is a test: ``split: train`` trains on it all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.data.reading import json_stream, row_files
from sightweave.data.reading.file_names import among, files, split_of
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig

_FIELDS = {"question_id", "image", "text", "label"}
_ANSWERS = ("yes", "no")
_DRAWN = re.compile("random|popular|adversarial")


def recognise(path: Path) -> str:
    """Describes the files of this format at or below `path`; empty if there are none."""
    found = [file.name for file in _files(path)]
    return f"yes or no questions in {among(found)}" if found else ""


def _files(path: Path) -> list[Path]:
    return [file for file in files(path, ".json", ".jsonl") if _is_ours(file)]


def _is_ours(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    is_asked = kind == "object" and keys >= _FIELDS
    return is_asked and json_stream.text_of(file, "label").strip().lower() in _ANSWERS


@config
class Config(FilesConfig):
    """A folder with ``coco_pope_random.json`` and its like and the pictures, or one such file."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row per question.

        Raises:
            DataError: there is no such file, or one cannot be read.
        """
        path = Path(self.path).expanduser()
        found = _files(path)
        if not found:
            raise json_stream.missing(path, "JSON lines with question_id, image, text and label")
        for file in found:
            name = split_of(file)
            if split and name and name != split:
                continue
            drawn = _DRAWN.search(file.name.lower())
            for row in row_files.read(file):
                values = row.values
                if not isinstance(values, RowError):
                    try:
                        values = _question(values, drawn[0] if drawn else "", name or "test")
                    except RowError as error:
                        values = error
                yield Row(row.line, values, str(file))


def _question(row: dict[str, Any], drawn: str, split: str) -> dict[str, Any]:
    label = row.get("label")
    answer = label.strip().lower() if isinstance(label, str) else label
    if answer not in _ANSWERS:
        raise RowError("bad_answer", "label", label, f"must be yes or no (got {shown(label)}).")
    identity = row.get("question_id")
    values = {
        # Each of the three files counts its questions from 1.
        "id": f"{drawn}-{identity}" if drawn and identity is not None else identity,
        "image": row.get("image"),
        "question": row.get("text"),
        "answer": answer,
        "options": list(_ANSWERS),
        "split": split,
    }
    return {**values, "type": drawn} if drawn else values
