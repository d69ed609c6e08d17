"""VQA v2, VQA v1 (several choices), OK-VQA and VizWiz as downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

COLOURS = {
    "red": (200, 30, 30), "green": (30, 160, 40), "blue": (30, 40, 200), "yellow": (220, 210, 40),
    "purple": (130, 30, 140), "white": (240, 240, 240), "black": (10, 10, 10), "orange": (230, 130, 20),
}  # fmt: skip
_LICENSE = {
    "url": "http://creativecommons.org/licenses/by/4.0/",
    "name": "Creative Commons Attribution 4.0 International License",
}
_INFO = {
    "description": "This is v2.0 of the VQA dataset.",
    "url": "http://visualqa.org",
    "version": "2.0",
    "year": 2017,
    "contributor": "VQA Team",
    "date_created": "2017-04-26 17:07:13",
}


def write(folder: Path) -> Path:
    """VQA v2: six pictures in train, two in val, one in test, whose questions have no answers."""
    for split, numbers in (("train2014", range(6)), ("val2014", range(6, 8)), ("test2015", range(1))):
        pictures(folder / split, split, numbers)
        dump(folder / f"v2_OpenEnded_mscoco_{split}_questions.json", questions(split, numbers))
        if split != "test2015":
            dump(folder / f"v2_mscoco_{split}_annotations.json", annotations(split, numbers))
    dump(folder / "v2_OpenEnded_mscoco_test-dev2015_questions.json", questions("test-dev2015", range(1)))
    dump(folder / "v2_mscoco_train2014_complementary_pairs.json", [[1000000, 1001000]])
    return folder


def write_choices(folder: Path) -> Path:
    """VQA v1 with 18 choices a question; the path of the question file of train."""
    values = questions("train2014", range(6)) | {"task_type": "Multiple-Choice"}
    for one in values["questions"]:
        one["multiple_choices"] = [*COLOURS, *map(str, range(8)), "yes", "no"]
    pictures(folder / "train2014", "train2014", range(6))
    dump(folder / "mscoco_train2014_annotations.json", annotations("train2014", range(6)))
    return dump(folder / "MultipleChoice_mscoco_train2014_questions.json", values)


def write_okvqa(folder: Path) -> Path:
    """OK-VQA: raw answers beside the stemmed ones, and categories for question types."""
    for split, numbers in (("train2014", range(6)), ("val2014", range(6, 8))):
        noted = annotations(split, numbers)
        for one in noted["annotations"]:
            del one["multiple_choice_answer"]
            one |= {"question_type": "four", "answer_type": "other", "confidence": 3}
            for answer in one["answers"]:
                answer["raw_answer"] = answer["answer"]
        pictures(folder / split, split, numbers)
        dump(folder / f"OpenEnded_mscoco_{split}_questions.json", questions(split, numbers))
        dump(folder / f"mscoco_{split}_annotations.json", noted)
    return folder


def write_vizwiz(folder: Path) -> Path:
    """VizWiz: questions and answers in one file a split, and pictures in folders of the splits' names."""
    for split, numbers in (("train", range(6)), ("val", range(6, 7)), ("test", range(7, 8))):
        rows = []
        (folder / split).mkdir(parents=True)
        for n in numbers:
            name = f"VizWiz_{split}_{n:08d}.jpg"
            Image.new("RGB", (48, 64), list(COLOURS.values())[n]).save(
                folder / split / name, "JPEG", quality=95
            )
            row: dict[str, Any] = {"image": name, "question": "What colour is this?"}
            if split != "test":
                row |= {"answers": _ten(n)[::-1], "answer_type": "other", "answerable": 1}
                for answer in row["answers"]:
                    del answer["answer_id"]
            rows.append(row)
        dump(folder / f"Annotations/{split}.json", rows)
    return folder


def answers_of(number: int) -> list[str]:
    """What ten people said about a picture: two of them something else."""
    return ["dark", *[list(COLOURS)[number]] * 8, "plain"]


def _ten(number: int) -> list[dict[str, Any]]:
    return [
        {"answer": answer, "answer_confidence": "yes" if answer != "dark" else "maybe", "answer_id": i + 1}
        for i, answer in enumerate(answers_of(number))
    ]


def pictures(folder: Path, subtype: str, numbers: Any) -> None:
    """Plain pictures of different colours, under COCO's names."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in numbers:
        picture = Image.new("RGB", (64, 48), list(COLOURS.values())[n])
        picture.save(folder / f"COCO_{subtype}_{1000 + n:012d}.jpg", "JPEG", quality=95)


def questions(subtype: str, numbers: Any) -> dict[str, Any]:
    """A question file."""
    asked = [
        {"image_id": 1000 + n, "question": "What color is the picture?", "question_id": 1000 * (1000 + n)}
        for n in numbers
    ]
    return {
        "info": _INFO, "task_type": "Open-Ended", "data_type": "mscoco", "license": _LICENSE,
        "data_subtype": subtype, "questions": asked,
    }  # fmt: skip


def annotations(subtype: str, numbers: Any) -> dict[str, Any]:
    """Its annotation file."""
    noted = [
        {
            "question_type": "what color is the",
            "multiple_choice_answer": list(COLOURS)[n],
            "answers": _ten(n),
            "image_id": 1000 + n,
            "answer_type": "other",
            "question_id": 1000 * (1000 + n),
        }
        for n in numbers
    ]
    return {
        "info": _INFO, "license": _LICENSE, "data_subtype": subtype, "annotations": noted, "data_type": "mscoco",
    }  # fmt: skip


def dump(path: Path, values: Any) -> Path:
    """Writes a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path
