"""POPE: yes-or-no questions about whether an object is in the image, from the official JSON lines files.

Evaluating Object Hallucination in Large Vision-Language Models (Li et al. 2023, arXiv:2305.10355). Three files ask about the
same images. Their absent objects are sampled at random, from popular objects, or from objects that often occur together with
those in the image (adversarial); the kind of sampling becomes the type of a question. All questions are in the test split
unless another one is set, such as with ``split: train``.
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
_SAMPLING = re.compile("random|popular|adversarial")


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in _files(path)]
    return f"yes or no questions in {among(found)}" if found else ""


def _files(path: Path) -> list[Path]:
    return [file for file in files(path, ".json", ".jsonl") if _is_questions(file)]


def _is_questions(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    has_fields = kind == "object" and keys >= _FIELDS
    return has_fields and json_stream.text_of(file, "label").strip().lower() in _ANSWERS


@config
class Config(FilesConfig):
    """A folder with images and files such as ``coco_pope_random.json``, or one such file."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per question.

        Raises:
            DataError: There is no such file, or a file cannot be read.
        """
        path = Path(self.path).expanduser()
        found = _files(path)
        if not found:
            raise json_stream.missing(path, "JSON lines with question_id, image, text and label")

        for file in found:
            name = split_of(file)
            if split and name and name != split:
                continue

            match = _SAMPLING.search(file.name.lower())
            sampling = match[0] if match else ""
            for row in row_files.read(file):
                values = row.values
                if not isinstance(values, RowError):
                    try:
                        values = _question(values, sampling, name or "test")
                    except RowError as error:
                        values = error
                yield Row(row.line, values, str(file))


def _question(row: dict[str, Any], sampling: str, split: str) -> dict[str, Any]:
    label = row.get("label")
    answer = label.strip().lower() if isinstance(label, str) else label
    if answer not in _ANSWERS:
        raise RowError("bad_answer", "label", label, f"must be yes or no (got {shown(label)}).")

    number = row.get("question_id")
    values = {
        # Each of the three files numbers its questions from 1.
        "id": f"{sampling}-{number}" if sampling and number is not None else number,
        "image": row.get("image"),
        "question": row.get("text"),
        "answer": answer,
        "options": list(_ANSWERS),
        "split": split,
    }
    return {**values, "type": sampling} if sampling else values
