"""Writes a small Hindi Visual Genome as it is unpacked: four tables without a head, each with a folder of pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

HINDI = {"red": "\u0932\u093e\u0932", "green": "\u0939\u0930\u093e", "blue": "\u0928\u0940\u0932\u093e"}
PARTS = {
    "train": ("red", "green", "blue", "white", "black", "gray"),
    "dev": ("yellow", "purple"),
    "test": ("orange",),
    "challenge-test-set": ("pink",),
}


def hindi(colour: str) -> str:
    """The translation of a text about a colour."""
    return f"\u090f\u0915 {HINDI.get(colour, colour)} \u0935\u0930\u094d\u0917"


def write(folder: Path) -> Path:
    """The folder with the tables; picture n is 40 x 20 pixels, and its box begins at n, 5."""
    number = 0
    for part, colours in PARTS.items():
        stem = f"hindi-visual-genome-{part}"
        pictures = folder / f"{stem}.images"
        pictures.mkdir(parents=True)
        rows = []
        for colour in colours:
            number += 1
            Image.new("RGB", (40, 20), colour).save(pictures / f"{2370000 + number}.jpg")
            rows.append(f"{2370000 + number}\t{number}\t5\t20\t10\tA {colour} square\t{hindi(colour)}\n")
        (folder / f"{stem}.txt").write_bytes("".join(rows).encode())
    return folder
