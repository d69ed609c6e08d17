"""CLEVR v1.0 as downloaded: questions with programs, scenes, and PNG pictures in a folder for each split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

COLOURS = {
    "red": (173, 35, 35), "green": (29, 105, 20), "blue": (42, 75, 215), "yellow": (255, 238, 51),
    "purple": (129, 38, 192), "gray": (87, 87, 87), "brown": (129, 74, 25), "cyan": (41, 208, 208),
}  # fmt: skip
SPLITS = {"train": range(6), "val": range(6, 7), "test": range(7, 8)}
_LICENSE = "Creative Commons Attribution (CC-BY 4.0)"


def write(folder: Path) -> Path:
    """Six pictures in train, one each in val and test (without answers); two questions each."""
    root = folder / "CLEVR_v1.0"
    for split, numbers in SPLITS.items():
        (root / "images" / split).mkdir(parents=True)
        for i, n in enumerate(numbers):
            picture = Image.new("RGBA", (48, 32), (*list(COLOURS.values())[n], 255))
            picture.save(root / f"images/{split}/CLEVR_{split}_{i:06d}.png", "PNG")
        dump(root / f"questions/CLEVR_{split}_questions.json", questions(split, numbers))
        if split != "test":
            dump(root / f"scenes/CLEVR_{split}_scenes.json", scenes(split, numbers))
    (root / "README.txt").write_text("CLEVR v1.0\n", encoding="utf-8")
    return root


def questions(split: str, numbers: Any) -> dict[str, Any]:
    """A question file: the colour of the one thing, and how many things there are."""
    found: list[dict[str, Any]] = []
    for i, n in enumerate(numbers):
        for text, answer, family, function in (
            ("What color is the thing?", list(COLOURS)[n], 76, "query_color"),
            ("How many things are there?", "1", 82, "count"),
        ):
            program = [
                {"inputs": [], "function": "scene", "value_inputs": []},
                {"inputs": [0], "function": function, "value_inputs": []},
            ]
            one = {
                "image_index": i,
                "program": program,
                "question_index": len(found),
                "image_filename": f"CLEVR_{split}_{i:06d}.png",
                "question_family_index": family,
                "split": split,
                "answer": answer,
                "question": text,
            }
            if split == "test":
                for field in ("program", "question_family_index", "answer"):
                    del one[field]
            found.append(one)
    return {"info": _info(split), "questions": found}


def scenes(split: str, numbers: Any) -> dict[str, Any]:
    """A scene file: one thing in each picture."""
    found = [
        {
            "image_index": i,
            "objects": [
                {
                    "color": list(COLOURS)[n],
                    "size": "large",
                    "rotation": 269.8,
                    "shape": "sphere",
                    "3d_coords": [-1.4, 1.2, 0.7],
                    "material": "metal",
                    "pixel_coords": [24, 16, 9.7],
                }
            ],
            "relationships": {"right": [[]], "behind": [[]], "front": [[]], "left": [[]]},
            "image_filename": f"CLEVR_{split}_{i:06d}.png",
            "split": split,
            "directions": {"right": [0.65, 0.75, -0.0], "left": [-0.65, -0.75, 0.0]},
        }
        for i, n in enumerate(numbers)
    ]
    return {"info": _info(split), "scenes": found}


def _info(split: str) -> dict[str, str]:
    return {"split": split, "license": _LICENSE, "version": "1.0", "date": "2/14/2017"}


def dump(path: Path, values: Any) -> Path:
    """Writes a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path
