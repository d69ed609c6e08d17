"""VQA v2, VQA v1 and OK-VQA, with official question and annotation files, and VizWiz, with one file for both.

VQA v2: Goyal et al. 2017 (arXiv:1612.00837); v1: Agrawal et al. 2015 (arXiv:1505.00468); OK-VQA: Marino et al. 2019
(arXiv:1906.00067); VizWiz: Gurari et al. 2018 (arXiv:1802.08218). All ten answers to a question become references; the most
common one is the training target.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading import json_stream
from sightweave.data.reading.file_names import among, json_files, split_of
from sightweave.data.reading.records import most_given
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import VALIDATION


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in json_files(path) if _is_questions(file) or _is_vizwiz(file)]
    return f"questions in {among(found)}" if found else ""


def _is_questions(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    return kind == "object" and {"questions", "question_id", "image_id", "question"} <= keys


def _is_annotations(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    return kind == "object" and {"question_id", "image_id", "answers"} <= keys and "question" not in keys


def _is_vizwiz(file: Path) -> bool:
    kind, keys = json_stream.glance(file)
    if kind != "array" or not {"image", "question"} <= keys:
        return False
    if {"answerable", "answer_type"} & keys:
        return True
    # The test file has only these two fields, so it is recognised by its image names.
    return json_stream.text_of(file, "image").startswith("VizWiz")


@config
class Config(FilesConfig):
    """A folder with question files, annotation files and images, or one question file with its annotations next to it."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per question.

        Raises:
            DataError: A file is damaged, or questions of a training or validation split have no annotations.
        """
        path = Path(self.path).expanduser()
        files = [file for file in json_files(path) if _is_vizwiz(file) or _is_questions(file)]
        if not files:
            raise json_stream.missing(path, "*_questions.json of VQA, or a file of VizWiz")

        near = json_files(path.parent if path.is_file() else path)
        annotations = [file for file in near if _is_annotations(file)]

        for file in files:
            name = split_of(file)
            if split and name and name != split and not self.split:
                continue
            if _is_vizwiz(file):
                yield from _read_vizwiz(file, name)
                continue

            partner = _annotations_of(file, annotations)
            if partner is None and self.labelled and name != "test":
                expected = f"{_stem(file)}_annotations.json".lstrip("_")
                raise DataError(
                    f"{file}: answers are missing; put {expected} in the same folder "
                    "(to read questions only, set labelled=False)."
                )
            yield from _read_questions(file, name, partner)


def _annotations_of(file: Path, annotations: list[Path]) -> Path | None:
    """The annotation file that belongs to a question file by its name; None if there is none.

    Raises:
        DataError: Several annotation files belong to the question file.
    """
    wanted = _stem(file)
    found = [one for one in annotations if _stem(one) == wanted]
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise DataError(f"{file}: {len(found)} annotation files for it ({names}); keep one.")
    return found[0] if found else None


def _stem(file: Path) -> str:
    """The common part of a question file's name and its annotation file's name.

    For example, this is ``v2_mscoco_train2014`` for ``v2_OpenEnded_mscoco_train2014_questions.json``.
    """
    name = file.name.removesuffix(".gz").removesuffix(".json")
    return re.sub("OpenEnded_|MultipleChoice_|_?questions|_?annotations", "", name)


def _mapping(value: Any, field: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowError("wrong_type", field, value, f"must be a JSON object (got {shown(value)}).")
    return value


def _number(values: dict[str, Any], field: str) -> int | str:
    value = values.get(field)
    if value is None:
        raise RowError("missing_field", field, None, f"missing. It has: {', '.join(values) or 'nothing'}.")
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise RowError("wrong_type", field, value, f"must be a number or text (got {shown(value)}).")
    return value


class _Annotations:
    """Looks up annotations by question id while streaming through the file.

    Official files list annotations in the order of the questions, so that few are in memory at a time. The file may contain
    more annotations than there are questions, so that it can be used with a subset of the questions.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.faults: list[Row] = []
        self._elements = enumerate(json_stream.elements(file, "annotations"))
        self._waiting: dict[int | str, tuple[int, dict[str, Any]]] = {}

    def of(self, question: int | str) -> tuple[int, dict[str, Any]] | None:
        """The position and content of a question's annotation; None if there is none.

        Unreadable annotations that are encountered are added to `faults`.
        """
        while question not in self._waiting:
            number, one = next(self._elements, (-1, None))
            if number < 0:
                return None
            try:
                annotation = _mapping(one)
                self._waiting[_number(annotation, "question_id")] = number, annotation
            except RowError as error:
                self.faults.append(Row(number, error, str(self.file)))
        return self._waiting.pop(question)


def _read_questions(file: Path, split: str, annotations: Path | None) -> Iterator[Row]:
    answers = _Annotations(annotations) if annotations is not None else None
    image_path = _image_path_parts(file)

    for number, one in enumerate(json_stream.elements(file, "questions")):
        places: tuple[tuple[str, int], ...] = ((str(file), number),)
        values: Any
        try:
            values = _question_values(_mapping(one), image_path)
            if split:
                values["split"] = split
            if answers is None:
                values["unlabelled"] = True
            elif (found := answers.of(values["id"])) is not None:
                position, annotation = found
                places = (*places, (str(answers.file), position))
                values |= _annotation_values(annotation)
        except RowError as error:
            values = error
        yield Row(number, values, str(file), places)

    if answers is not None:
        yield from answers.faults


def _question_values(one: dict[str, Any], image_path: tuple[str, str]) -> dict[str, Any]:
    before, after = image_path
    image = _number(one, "image_id")
    if isinstance(image, str) and image.isdecimal():
        image = int(image)
    name = f"{before}{image:012d}{after}" if isinstance(image, int) else image

    values: dict[str, Any] = {
        "id": _number(one, "question_id"),
        "image": name,
        "question": one.get("question"),
    }
    if one.get("multiple_choices") is not None:
        values["options"] = one["multiple_choices"]
    return values


def _image_path_parts(file: Path) -> tuple[str, str]:
    """The parts of an image's path before and after its number."""
    subtype = json_stream.text_of(file, "data_subtype")
    if not subtype:
        found = re.search(r"(train|val|test|test-dev)20\d\d", file.name)
        subtype = found[0] if found else split_of(file)
    subtype = subtype.replace("test-dev", "test")  # the test-dev questions are about the test images

    source = json_stream.text_of(file, "data_type") or "mscoco"
    if source == "mscoco":
        return f"{subtype}/COCO_{subtype}_", ".jpg"
    return f"{subtype}/{source}_{subtype}_", ".png"  # the drawn scenes of v1 (abstract_v002)


def _annotation_values(one: dict[str, Any]) -> dict[str, Any]:
    """The fields that an annotation adds to a row; the ``type`` tag is the type of the answer, as in the official code."""
    most_common = one.get("multiple_choice_answer")
    references = _answer_texts(one)
    return {
        "answers": most_given(references) if most_common is None else [most_common],
        "references": references,
        "tags": _texts_only({"type": one.get("answer_type"), "question_type": one.get("question_type")}),
    }


def _answer_texts(one: dict[str, Any]) -> list[Any]:
    answers = one.get("answers")
    if answers is None:
        return []
    if not isinstance(answers, list):
        raise RowError("wrong_type", "answers", answers, f"must be a list (got {shown(answers)}).")
    return [_mapping(answer, "answers").get("answer") for answer in answers]


def _texts_only(tags: dict[str, Any]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if isinstance(value, str) and value}


def _read_vizwiz(file: Path, split: str) -> Iterator[Row]:
    for number, one in enumerate(json_stream.elements(file)):
        values: Any
        try:
            values = _vizwiz_values(_mapping(one), split)
        except RowError as error:
            values = error
        yield Row(number, values, str(file))


def _vizwiz_values(one: dict[str, Any], split: str) -> dict[str, Any]:
    name = one.get("image")
    values: dict[str, Any] = {"image": name, "question": one.get("question")}
    if isinstance(name, str):
        values["id"] = Path(name).stem
        folder = "val" if split == VALIDATION else split  # as in the authors' archives
        values["image"] = f"{folder}/{name}" if folder else name
    if split:
        values["split"] = split

    if "answers" not in one and split not in ("train", VALIDATION):
        return {**values, "unlabelled": True}

    references = _answer_texts(one)
    return {
        **values,
        "answers": most_given(references),
        "references": references,
        "tags": _texts_only({"type": one.get("answer_type")}),
    }
