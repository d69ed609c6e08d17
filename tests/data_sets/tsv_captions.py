"""A table with ``filepath`` and ``title``, as OpenCLIP trains from, and the pictures."""

from __future__ import annotations

from pathlib import Path

from data_sets._colours import COLOURS
from PIL import Image


def write(folder: Path) -> Path:
    """Six pictures to train on, two for validation."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    lines = {"train": ["filepath\ttitle"], "val": ["filepath\ttitle"]}
    for number, (name, colour) in enumerate(COLOURS.items()):
        Image.new("RGB", (24, 16), colour).save(folder / "pictures" / f"{name}.jpg")
        lines["train" if number < 6 else "val"].append(f"pictures/{name}.jpg\tAll of it is {name}.")
    for split, rows in lines.items():
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
