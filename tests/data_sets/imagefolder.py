"""Folders of splits with pictures and a ``metadata.jsonl``, as `datasets` reads them."""

from __future__ import annotations

import json
from pathlib import Path

from data_sets._colours import COLOURS
from PIL import Image


def save(folder: Path, name: str, colour: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 16), COLOURS[colour]).save(folder / name)
    return name


def write(folder: Path) -> Path:
    """Six pictures to train on, two for the test."""
    names = list(COLOURS)
    for split, colours in (("train", names[:6]), ("test", names[6:])):
        rows = [
            {
                "file_name": save(folder / split, f"{number:04d}.png", colour),
                "text": f"All of it is {colour}.",
                "additional_feature": number,
            }
            for number, colour in enumerate(colours)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / split / "metadata.jsonl").write_text(lines, encoding="utf-8")
    return folder


def write_classes(folder: Path) -> Path:
    """The same without metadata: a folder for each class."""
    names = list(COLOURS)
    for colour in names[:6]:
        save(folder, f"train/{colour}/1.jpg", colour)
    for colour in names[:2]:
        save(folder, f"test/{colour}/2.jpg", colour)
    return folder
