"""Writes a small Multi30k as its repository has it: both tasks, packed texts, lists of pictures, pictures beside it."""

from __future__ import annotations

import gzip
from pathlib import Path

from PIL import Image

COLOURS = {
    "train": ("red", "green", "blue", "white", "black", "gray"),
    "val": ("yellow", "purple"),
    "test_2016_flickr": ("orange", "pink"),
    "test_2017_mscoco": ("brown",),
}
WORDS = {
    "en": "A {} square .",
    "de": "Ein Quadrat in {} .",
    "fr": "Un carr\u00e9 {} .",
    "cs": "\u010ctverec {} .",
}
LANGUAGES = dict.fromkeys(COLOURS, "en de fr cs") | {"test_2017_mscoco": "en de fr"}
TASK2 = {"train": "train", "val": "val", "test_2016": "test_2016_flickr"}


def write(folder: Path) -> Path:
    """The folder that holds ``data`` and ``flickr30k-images``."""
    pictures = folder / "flickr30k-images"
    pictures.mkdir(parents=True)
    task1, task2 = folder / "data" / "task1", folder / "data" / "task2"
    for part, colours in COLOURS.items():
        names = []
        for index, colour in enumerate(colours):
            name = picture_name(part, index)
            Image.new("RGB", (16, 12), colour).save(pictures / name)
            # The list of COCO's pictures names the caption that was translated as well.
            names.append(f"{name}#{367178 + index}" if "mscoco" in part else name)
        _text(task1 / "image_splits" / f"{part}.txt", names)
        for language in LANGUAGES[part].split():
            texts = [WORDS[language].format(colour) for colour in colours]
            _packed(task1 / "raw" / f"{part}.{language}.gz", texts)
            _text(task1 / "tok" / f"{part}.lc.norm.tok.{language}", [text.lower() for text in texts])
    for part, of_task1 in TASK2.items():
        colours = COLOURS[of_task1]
        names = [picture_name(of_task1, index) for index in range(len(colours))]
        _text(task2 / "image_splits" / f"{part}_images.txt", names)
        for number in range(1, 6):
            for language in ("en", "de"):
                texts = [f"{number}: {WORDS[language].format(colour)}" for colour in colours]
                _packed(task2 / "raw" / f"{part}.{number}.{language}.gz", texts)
    return folder


def picture_name(part: str, index: int) -> str:
    """As Flickr30k and COCO call their pictures."""
    if "mscoco" in part:
        return f"COCO_train2014_{117071 + index:012d}.jpg"
    return f"{1000 + 100 * list(COLOURS).index(part) + index}.jpg"


def _text(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def _packed(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
