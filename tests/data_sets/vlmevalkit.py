"""A table as VLMEvalKit has it: pictures in base64, options in columns of letters."""

from __future__ import annotations

import base64
import csv
from pathlib import Path

from data_sets._colours import COLOURS, picture

COLUMNS = (
    *("index", "image", "image_path", "question", "hint", "A", "B", "C", "D"),
    *("answer", "category", "l2-category", "split"),
)


def encoded(colour: str) -> str:
    return base64.b64encode(picture(colour)).decode()


def row(number: int, colour: str, split: str) -> dict[str, str]:
    others = [name for name in COLOURS if name != colour][:3]
    place = number % 4
    options = [*others[:place], colour, *others[place:]]
    return {
        "index": str(number),
        "image": encoded(colour),
        "image_path": f"{number}.jpg",
        "question": "Which colour is it?",
        "hint": 'Say "none"\nwhere it has none.' if number == 0 else "",
        **dict(zip("ABCD", options, strict=True)),
        "answer": "ABCD"[place],
        "category": "colour" if number % 2 else "shade",
        "l2-category": "perception",
        "split": split,
    }


def write_rows(file: Path, rows: list[dict[str, str]]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, delimiter="\t", lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return file


def write(folder: Path) -> Path:
    """Six pictures to train on, two for the test, and a second question about the first picture."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row(n, name, "train" if n < 6 else "test") for n, name in enumerate(COLOURS)]
    rows.insert(1, row(8, "red", "train") | {"image": "0", "question": "And which is it now?"})
    return write_rows(folder / "Colours.tsv", rows)
