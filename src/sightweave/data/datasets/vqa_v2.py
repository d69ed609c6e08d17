"""VQA v2, VQA v1 and OK-VQA: official question and annotation files; VizWiz: one file with both.

VQA v2: Goyal et al. 2017 (arXiv:1612.00837); v1: Agrawal et al. 2015 (arXiv:1505.00468); OK-VQA: Marino et al. 2019
(arXiv:1906.00067); VizWiz: Gurari et al. 2018 (arXiv:1802.08218). All ten answers are kept; the commonest is learnt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.datasets import _json
from sightweave.data.datasets._files import among, json_files, split_of
from sightweave.data.datasets._rows import Row
from sightweave.data.datasets._table import FilesConfig


def recognise(path: Path) -> str:
    """What there is of this format below a path; empty where there is nothing."""
    found = [file.name for file in json_files(path) if _is_questions(file) or _is_vizwiz(file)]
    return f"questions in {among(found)}" if found else ""


def _is_questions(file: Path) -> bool:
    kind, keys = _json.glance(file)
    return kind == "object" and {"questions", "question_id", "image_id", "question"} <= keys


def _is_annotations(file: Path) -> bool:
    kind, keys = _json.glance(file)
    return kind == "object" and {"question_id", "image_id", "answers", "question_type"} <= keys


def _is_vizwiz(file: Path) -> bool:
    kind, keys = _json.glance(file)
    return kind == "array" and {"image", "question"} <= keys and bool({"answerable", "answer_type"} & keys)


@config
class Config(FilesConfig):
    """A folder with question files, annotation files and pictures, or one question file with annotations beside it."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row a question."""
        path = Path(self.path).expanduser()
        files = json_files(path)
        beside = json_files(path.parent) if path.is_file() else files
        annotations = [file for file in beside if _is_annotations(file)]
        for file in files:
            name = split_of(file)
            if split and name and name != split and not self.split:
                continue
            if _is_vizwiz(file):
                yield from _of_vizwiz(file, name)
            elif _is_questions(file):
                yield from _of_questions(file, name, _partner(file, annotations))


def _partner(file: Path, annotations: list[Path]) -> Path | None:
    """The annotations of a question file: those whose name is nearest to its own."""
    wanted = _stem(file)
    found = [one for one in annotations if _stem(one) == wanted]
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise DataError(f"{file}: {len(found)} annotation files for it ({names}); leave one.")
    return found[0] if found else None


def _stem(file: Path) -> str:
    """``v2_mscoco_train2014`` of ``v2_OpenEnded_mscoco_train2014_questions.json`` and of its annotations."""
    name = file.name.removesuffix(".gz").removesuffix(".json")
    for word in ("OpenEnded_", "MultipleChoice_", "_questions", "_annotations"):
        name = name.replace(word, "")
    return name


def _of_questions(file: Path, split: str, annotations: Path | None) -> Iterator[Row]:
    kept = {}
    if annotations is not None:
        for number, one in enumerate(_json.elements(annotations, "annotations")):
            answers = [a.get("answer") for a in one.get("answers", [])]
            kept[one.get("question_id")] = (number, one.get("multiple_choice_answer"), answers, _kinds(one))
    subtype, source = _subtype(file)
    for number, one in enumerate(_json.elements(file, "questions")):
        identity, image = one.get("question_id"), one.get("image_id")
        values: dict[str, Any] = {
            "id": identity,
            "image": f"{subtype}/COCO_{subtype}_{image:012d}.jpg"
            if isinstance(image, int) and source == "mscoco"
            else f"{subtype}/{image}.png",
            "question": one.get("question"),
        }
        places: tuple[tuple[str, int], ...] = ((str(file), number),)
        if split:
            values["split"] = split
        if one.get("multiple_choices"):
            values["options"] = one["multiple_choices"]
        if identity in kept:
            place, commonest, answers, kinds = kept[identity]
            values |= {"answers": _learnt(commonest, answers), "references": answers, "tags": kinds}
            places = (*places, (str(annotations), place))
        elif annotations is None:
            values["unlabelled"] = True
        yield Row(number, values, str(file), places)


def _subtype(file: Path) -> tuple[str, str]:
    """The name that its pictures carry, such as train2014, and where they are from, such as mscoco."""
    found = {"data_subtype": "", "data_type": "mscoco"}
    for key, value in _json.members(file):
        if key in found and isinstance(value, str):
            found[key] = value
        if key == "questions":
            break
    # test-dev questions are about the pictures of the test.
    return found["data_subtype"].replace("test-dev", "test"), found["data_type"]


def _kinds(one: dict[str, Any]) -> dict[str, str]:
    """``type`` splits the tables; the official one is the type of the answer."""
    named = {"type": one.get("answer_type"), "question_type": one.get("question_type")}
    return {key: value for key, value in named.items() if isinstance(value, str) and value}


def _learnt(commonest: Any, answers: list[Any]) -> list[Any]:
    """The answer to learn: the official commonest one, or else the first of those given most often."""
    if commonest is None and answers:
        commonest = Counter(map(str, answers)).most_common(1)[0][0]
    return [] if commonest is None else [commonest]


def _of_vizwiz(file: Path, split: str) -> Iterator[Row]:
    for number, one in enumerate(_json.elements(file)):
        answers = [a.get("answer") for a in one.get("answers", [])]
        name = one.get("image")
        values: dict[str, Any] = {
            "id": Path(name).stem if isinstance(name, str) else None,
            "image": f"{split}/{name}" if isinstance(name, str) and split else name,
            "question": one.get("question"),
            "tags": {"type": one["answer_type"]} if one.get("answer_type") else {},
        }
        if split:
            values["split"] = split
        if answers:
            values |= {"answers": _learnt(None, answers), "references": answers}
        else:
            values["unlabelled"] = True
        yield Row(number, values, str(file))
