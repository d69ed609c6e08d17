"""GQA as downloaded: balanced questions and all of them, training ones in ten files, scene graphs, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

COLOURS = {
    "red": (200, 30, 30), "green": (30, 160, 40), "blue": (30, 40, 200), "yellow": (220, 210, 40),
    "purple": (130, 30, 140), "white": (240, 240, 240), "black": (10, 10, 10), "orange": (230, 130, 20),
    "gray": (128, 128, 128),
}  # fmt: skip
SIZE = (64, 48)
SPLITS = {"train": range(6), "val": range(6, 7), "testdev": range(7, 8), "test": range(8, 9)}


def write(folder: Path) -> Path:
    """Six pictures in train, one each in val, testdev and test (without answers); two questions each, one balanced."""
    inside = folder / "questions1.2"
    for split, numbers in SPLITS.items():
        asked = {key: one for n in numbers for key, one in questions(n, split == "test").items()}
        dump(inside / f"{split}_balanced_questions.json", {k: v for k, v in asked.items() if v["isBalanced"]})
        if split == "train":
            for part in range(10):
                some = {key: one for i, (key, one) in enumerate(asked.items()) if i % 10 == part}
                dump(inside / f"train_all_questions/train_all_questions_{part}.json", some)
        else:
            dump(inside / f"{split}_all_questions.json", asked)
    for split in ("train", "val"):
        dump(folder / f"sceneGraphs/{split}_sceneGraphs.json", {image(n): graph(n) for n in SPLITS[split]})
    (folder / "images").mkdir()
    for n in range(9):
        picture = Image.new("RGB", SIZE, list(COLOURS.values())[n])
        picture.save(folder / f"images/{image(n)}.jpg", "JPEG", quality=95)
    return folder


def image(number: int) -> str:
    """A picture's id; those of the test are of another source and begin with n."""
    return f"n25082{number}" if number >= 7 else str(2407890 + number)


def questions(number: int, hidden: bool = False) -> dict[str, dict[str, Any]]:
    """Two questions about a picture: its colour (balanced), and whether it has that colour."""
    colour = list(COLOURS)[number]
    first, second = f"2064464{number}", f"0064464{number}"
    asked: dict[str, dict[str, Any]] = {}
    for key, text, answer, full, types, balanced in (
        (
            first, "What color is the wall?", colour, f"The wall is {colour}.",
            {"detailed": "color", "semantic": "attr", "structural": "query"}, True,
        ),
        (
            second, f"Is the wall {colour}?", "yes", f"Yes, the wall is {colour}.",
            {"detailed": "colorVerify", "semantic": "attr", "structural": "verify"}, False,
        ),
    ):  # fmt: skip
        asked[key] = {"imageId": image(number), "question": text, "isBalanced": balanced}
        if hidden:
            continue
        asked[key] |= {
            "semantic": [
                {"operation": "select", "dependencies": [], "argument": f"wall ({number})"},
                {"operation": "query", "dependencies": [0], "argument": "color"},
            ],
            "entailed": [second] if key == first else [],
            "equivalent": [first] if key == first else [second],
            "answer": answer,
            "groups": {"global": "color", "local": f"10-wall_{number}"},
            "semanticStr": f"select: wall ({number})->query: color [0]",
            "annotations": {"answer": {}, "question": {"4": str(number)}, "fullAnswer": {"1": str(number)}},
            "types": types,
            "fullAnswer": full,
        }
    return asked


def graph(number: int) -> dict[str, Any]:
    """A scene graph: a wall with the picture's colour on the left half, a lamp without attributes on it."""
    colour = list(COLOURS)[number]
    wall = {
        "name": "wall",
        "x": 0,
        "y": 0,
        "w": 32,
        "h": 48,
        "attributes": [colour, "plain"],
        "relations": [],
    }
    lamp = {
        "name": "lamp", "x": 48, "y": 12, "w": 16, "h": 24, "attributes": [],
        "relations": [{"name": "to the right of", "object": f"10{number}"}],
    }  # fmt: skip
    return {
        "width": SIZE[0], "height": SIZE[1], "location": "indoors", "weather": "none",
        "objects": {f"10{number}": wall, f"20{number}": lamp},
    }  # fmt: skip


def dump(path: Path, values: Any) -> Path:
    """Writes a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path
