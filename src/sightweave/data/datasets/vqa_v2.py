"""VQA v2, VQA v1 and OK-VQA: official question and annotation files; VizWiz: one file with both.

VQA v2: Goyal et al. 2017 (arXiv:1612.00837); v1: Agrawal et al. 2015 (arXiv:1505.00468); OK-VQA: Marino et al. 2019
(arXiv:1906.00067); VizWiz: Gurari et al. 2018 (arXiv:1802.08218). All ten answers are kept; the commonest is learnt.
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
    """Describes the files of this format at or below `path`; empty if there are none."""
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
    # The test file has nothing but these two fields.
    return bool({"answerable", "answer_type"} & keys) or json_stream.text_of(file, "image").startswith(
        "VizWiz"
    )


@config
class Config(FilesConfig):
    """A folder with question files, annotation files and pictures, or one question file with annotations beside it."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row per question.

        Raises:
            DataError: a file is damaged, or questions to learn from have no annotations.
        """
        path = Path(self.path).expanduser()
        files = [file for file in json_files(path) if _is_vizwiz(file) or _is_questions(file)]
        if not files:
            raise json_stream.missing(path, "*_questions.json of VQA, or a file of VizWiz")
        beside = json_files(path.parent if path.is_file() else path)
        annotations = [file for file in beside if _is_annotations(file)]
        for file in files:
            name = split_of(file)
            if split and name and name != split and not self.split:
                continue
            if _is_vizwiz(file):
                yield from _of_vizwiz(file, name)
            else:
                partner = _partner(file, annotations)
                if partner is None and self.labelled and name != "test":
                    raise DataError(
                        f"{file}: answers are missing; put {f'{_stem(file)}_'.lstrip('_')}annotations.json in the "
                        "same folder "
                        "(to read questions only, set labelled=False)."
                    )
                yield from _of_questions(file, name, partner)


def _partner(file: Path, annotations: list[Path]) -> Path | None:
    """The annotations of a question file: those whose name is nearest to its own."""
    wanted = _stem(file)
    found = [one for one in annotations if _stem(one) == wanted]
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise DataError(f"{file}: {len(found)} annotation files for it ({names}); keep one.")
    return found[0] if found else None


def _stem(file: Path) -> str:
    """``v2_mscoco_train2014`` of ``v2_OpenEnded_mscoco_train2014_questions.json`` and of its annotations."""
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


class _Answers:
    """Annotations by question. Official files have the order of the questions, so few are held at a time.

    More annotations than questions are no fault: whoever takes a few questions need not cut the annotations too.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.faults: list[Row] = []
        self._elements = enumerate(json_stream.elements(file, "annotations"))
        self._waiting: dict[int | str, tuple[int, dict[str, Any]]] = {}

    def of(self, question: int | str) -> tuple[int, dict[str, Any]] | None:
        """Place and content of a question's annotation; what cannot be read goes to `faults`."""
        while question not in self._waiting:
            number, one = next(self._elements, (-1, None))
            if number < 0:
                return None
            try:
                noted = _mapping(one)
                self._waiting[_number(noted, "question_id")] = number, noted
            except RowError as error:
                self.faults.append(Row(number, error, str(self.file)))
        return self._waiting.pop(question)


def _of_questions(file: Path, split: str, annotations: Path | None) -> Iterator[Row]:
    answers = _Answers(annotations) if annotations is not None else None
    form = _picture_names(file)
    for number, one in enumerate(json_stream.elements(file, "questions")):
        places: tuple[tuple[str, int], ...] = ((str(file), number),)
        values: Any
        try:
            values = _asked(_mapping(one), form)
            if split:
                values["split"] = split
            if answers is None:
                values["unlabelled"] = True
            elif (found := answers.of(values["id"])) is not None:
                places = (*places, (str(answers.file), found[0]))
                values |= _answered(found[1])
        except RowError as error:
            values = error
        yield Row(number, values, str(file), places)
    if answers is not None:
        yield from answers.faults


def _asked(one: dict[str, Any], form: tuple[str, str]) -> dict[str, Any]:
    folder, suffix = form
    image = _number(one, "image_id")
    if isinstance(image, str) and image.isdecimal():
        image = int(image)
    name = f"{folder}{image:012d}{suffix}" if isinstance(image, int) else image
    values: dict[str, Any] = {
        "id": _number(one, "question_id"),
        "image": name,
        "question": one.get("question"),
    }
    if one.get("multiple_choices") is not None:
        values["options"] = one["multiple_choices"]
    return values


def _picture_names(file: Path) -> tuple[str, str]:
    """What stands before and after the number of a picture in its path."""
    subtype = json_stream.text_of(file, "data_subtype")
    if not subtype:
        found = re.search(r"(train|val|test|test-dev)20\d\d", file.name)
        subtype = found[0] if found else split_of(file)
    subtype = subtype.replace("test-dev", "test")  # its questions are about the pictures of the test
    source = json_stream.text_of(file, "data_type") or "mscoco"
    if source == "mscoco":
        return f"{subtype}/COCO_{subtype}_", ".jpg"
    return f"{subtype}/{source}_{subtype}_", ".png"  # abstract_v002, the drawn scenes of v1


def _answered(one: dict[str, Any]) -> dict[str, Any]:
    """What an annotation adds; ``type`` splits the tables, and the official one is the type of the answer."""
    commonest = one.get("multiple_choice_answer")
    references = _given(one)
    named = {"type": one.get("answer_type"), "question_type": one.get("question_type")}
    return {
        "answers": most_given(references) if commonest is None else [commonest],
        "references": references,
        "tags": {key: value for key, value in named.items() if isinstance(value, str) and value},
    }


def _given(one: dict[str, Any]) -> list[Any]:
    answers = one.get("answers")
    if answers is None:
        return []
    if not isinstance(answers, list):
        raise RowError("wrong_type", "answers", answers, f"must be a list (got {shown(answers)}).")
    return [_mapping(answer, "answers").get("answer") for answer in answers]


def _of_vizwiz(file: Path, split: str) -> Iterator[Row]:
    for number, one in enumerate(json_stream.elements(file)):
        values: Any
        try:
            values = _vizwiz(_mapping(one), split)
        except RowError as error:
            values = error
        yield Row(number, values, str(file))


def _vizwiz(one: dict[str, Any], split: str) -> dict[str, Any]:
    name = one.get("image")
    values: dict[str, Any] = {"image": name, "question": one.get("question")}
    if isinstance(name, str):
        values["id"] = Path(name).stem
        folder = "val" if split == VALIDATION else split  # as the authors' archives are called
        values["image"] = f"{folder}/{name}" if folder else name
    if split:
        values["split"] = split
    if "answers" not in one and split not in ("train", VALIDATION):
        return {**values, "unlabelled": True}
    references = _given(one)
    named = {"type": one.get("answer_type")}
    return {
        **values,
        "answers": most_given(references),
        "references": references,
        "tags": {key: value for key, value in named.items() if isinstance(value, str) and value},
    }
