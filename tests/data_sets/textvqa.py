"""TextVQA 0.5.1 as downloaded: question files, recognised text, pictures of train and val in one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

COLOURS = {
    "red": (200, 30, 30), "green": (30, 160, 40), "blue": (30, 40, 200), "yellow": (220, 210, 40),
    "purple": (130, 30, 140), "white": (240, 240, 240), "black": (10, 10, 10), "orange": (230, 130, 20),
}  # fmt: skip
SIZE = (64, 48)
SPLITS = {"train": range(6), "val": range(6, 7), "test": range(7, 8)}


def write(folder: Path) -> Path:
    """Six pictures in train, one each in val and test (without answers)."""
    for split, numbers in SPLITS.items():
        pictures = folder / ("test_images" if split == "test" else "train_images")
        pictures.mkdir(parents=True, exist_ok=True)
        for n in numbers:
            picture = Image.new("RGB", SIZE, list(COLOURS.values())[n])
            picture.save(pictures / f"{image(n)}.jpg", "JPEG", quality=95)
        dump(folder / f"TextVQA_0.5.1_{split}.json", questions(split, numbers))
        dump(folder / f"TextVQA_Rosetta_OCR_v0.2_{split}.json", recognised(split, numbers))
    return folder


def image(number: int) -> str:
    """A picture's id: OpenImages' hexadecimal one."""
    return f"0054c91397f2fe0{number}"


def answers_of(number: int) -> list[str]:
    """What ten people answered."""
    return ["unanswerable", *[list(COLOURS)[number]] * 8, "the colour"]


def questions(split: str, numbers: Any) -> dict[str, Any]:
    """A question file."""
    found: list[dict[str, Any]] = []
    for n in numbers:
        one = {
            "question": "what is the color of the sign?",
            "image_id": image(n),
            "image_classes": ["Traffic sign", "Wall"],
            "flickr_original_url": f"https://farm2.staticflickr.com/{n}_o.jpg",
            "flickr_300k_url": f"https://c4.staticflickr.com/{n}_z.jpg",
            "image_width": SIZE[0],
            "image_height": SIZE[1],
            "answers": answers_of(n),
            "question_tokens": ["what", "is", "the", "color", "of", "the", "sign"],
            "question_id": 34602 + n,
            "set_name": split,
        }
        if split == "test":
            del one["answers"]
        found.append(one)
    return {"dataset_type": split, "dataset_name": "textvqa", "dataset_version": "0.5.1", "data": found}


def recognised(split: str, numbers: Any) -> dict[str, Any]:
    """A file of recognised text."""
    box = {
        "width": 0.25, "height": 0.1, "rotation": 0, "roll": 0, "pitch": 0, "yaw": 0,
        "top_left_x": 0.1, "top_left_y": 0.2,
    }  # fmt: skip
    found = [
        {
            "image_id": image(n),
            "ocr_tokens": [list(COLOURS)[n]],
            "ocr_info": [{"word": list(COLOURS)[n], "bounding_box": box}],
            "set_name": split,
            "image_classes": ["Traffic sign"],
            "image_width": SIZE[0],
            "image_height": SIZE[1],
            "flickr_original_url": "https://farm2.staticflickr.com/1_o.jpg",
            "flickr_300k_url": "https://c4.staticflickr.com/1_z.jpg",
        }
        for n in numbers
    ]
    return {"dataset_type": split, "dataset_name": "textvqa", "dataset_version": "0.2", "data": found}


def dump(path: Path, values: Any) -> Path:
    """Writes a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path
