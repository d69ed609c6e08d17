"""NLVR2 as downloaded: JSON lines named .json in ``data``, and pairs of pictures, some of them JPEG named .png."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

COLOURS = {
    "red": (200, 30, 30), "green": (30, 160, 40), "blue": (30, 40, 200), "yellow": (220, 210, 40),
    "purple": (130, 30, 140), "white": (240, 240, 240), "black": (10, 10, 10), "orange": (230, 130, 20),
}  # fmt: skip
PAIRS = {"train": [(0, 1), (2, 3), (4, 5)], "dev": [(6, 7)], "test1": [(7, 6)]}
"""Which colours the pictures of each pair have."""


def write(folder: Path) -> Path:
    """Three pairs of pictures in train, one in dev and in test; two sentences about each."""
    for split, pairs in PAIRS.items():
        rows = []
        for number, pair in enumerate(pairs):
            # Only the pictures of the training set are spread over numbered folders.
            inside = folder / "images" / (f"train/{number}" if split == "train" else split)
            inside.mkdir(parents=True, exist_ok=True)
            for side, colour in enumerate(pair):
                picture = Image.new("RGB", (64, 48), list(COLOURS.values())[colour])
                name = f"{split}-1017{number // 2}-{number % 2}-img{side}.png"
                picture.save(inside / name, "PNG" if side else "JPEG")
            rows += sentences(split, number)
        (folder / "data").mkdir(exist_ok=True)
        path = folder / f"data/{split}.json"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "data/balanced").mkdir()
    balanced = (folder / "data/dev.json").read_text(encoding="utf-8").splitlines()[0]
    (folder / "data/balanced/balanced_dev.json").write_text(balanced + "\n", encoding="utf-8")
    return folder


def sentences(split: str, number: int) -> list[dict[str, Any]]:
    """Two rows about a pair: the left picture's colour (true), and that both are of one colour (false)."""
    left = list(COLOURS)[PAIRS[split][number][0]]
    rows = []
    for i, (text, label) in enumerate(
        ((f"The left image is {left}.", "True"), ("Both images have the same color.", "False"))
    ):
        row = {
            "validation": {"ab0bd23ae5ef5a0d": label},
            "sentence": text,
            "left_url": f"https://example.org/{number}-0.jpg",
            "writer": "2",
            "right_url": f"https://example.org/{number}-1.jpg",
            "synset": "acorn",
            "query": "group of acorns1",
            "identifier": f"{split}-1017{number // 2}-{number % 2}-{i}",
            "label": label,
        }
        row |= {"directory": number} if split == "train" else {"extra_validations": {"5d0fe1a2": label}}
        rows.append(row)
    return rows
