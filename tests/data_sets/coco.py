"""COCO captions as downloaded: 2017 or 2014 names, with boxes; Karpathy's split file; LAVIS' copies."""

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
_INFO = {
    "description": "COCO 2017 Dataset",
    "url": "http://cocodataset.org",
    "version": "1.0",
    "year": 2017,
    "contributor": "COCO Consortium",
    "date_created": "2017/09/01",
}
_LICENSES = [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "Attribution License"}]


def write(folder: Path) -> Path:
    """The 2017 release: six pictures in train, two in val, each with two captions and one or two boxes."""
    for split, numbers in (("train", range(6)), ("val", range(6, 8))):
        names = {n: f"{1000 + n:012d}.jpg" for n in numbers}
        pictures(folder / f"{split}2017", names)
        dump(folder / f"annotations/captions_{split}2017.json", captions(names))
        dump(folder / f"annotations/instances_{split}2017.json", instances(names))
    return folder


def write_2014(folder: Path) -> Path:
    """The 2014 release, whose names say the split; without boxes."""
    for split, numbers in (("train", range(6)), ("val", range(6, 8))):
        names = names_2014(split, numbers)
        pictures(folder / f"{split}2014", names)
        dump(folder / f"annotations/captions_{split}2014.json", captions(names))
    return folder


def write_karpathy(folder: Path) -> Path:
    """Karpathy's split of the 2014 pictures: four in train, one of the official val in restval, val and test each."""
    splits = ["train"] * 4 + ["restval", "val", "test", "test"]
    images = []
    for n, split in enumerate(splits):
        part = "train" if split == "train" else "val"
        name = names_2014(part, [n])[n]
        pictures(folder / f"{part}2014", {n: name})
        images.append(karpathy(n, split) | {"filepath": f"{part}2014", "filename": name, "cocoid": 1000 + n})
    return dump(folder / "dataset_coco.json", {"images": images, "dataset": "coco"})


def write_flickr30k(folder: Path) -> Path:
    """Karpathy's file of Flickr30k, which has neither folders nor COCO's ids."""
    images = []
    for n, split in enumerate(["train"] * 6 + ["val", "test"]):
        pictures(folder / "flickr30k-images", {n: f"{1000 + n}.jpg"})
        images.append(karpathy(n, split) | {"filename": f"{1000 + n}.jpg"})
    return dump(folder / "dataset_flickr30k.json", {"images": images, "dataset": "flickr30k"})


def write_lavis(folder: Path) -> Path:
    """LAVIS' copies: one row a caption in train, one row a picture in val and test."""
    names = names_2014("val", range(8))
    pictures(folder / "val2014", names)
    files = [f"val2014/{name}" for name in names.values()]
    train = [
        {"caption": text, "image": files[n], "image_id": f"coco_{1000 + n}"}
        for n in range(6)
        for text in texts(n)
    ]
    dump(folder / "annotations/coco_karpathy_train.json", train)
    dump(folder / "annotations/coco_karpathy_val.json", [{"image": files[6], "caption": texts(6)}])
    dump(folder / "annotations/coco_karpathy_test.json", [{"image": files[7], "caption": texts(7)}])
    return folder


def texts(number: int) -> list[str]:
    """The captions of a picture."""
    colour = list(COLOURS)[number]
    return [f"A {colour} surface.", f"Everything here is {colour}."]


def names_2014(split: str, numbers: Any) -> dict[int, str]:
    """File names of the 2014 release."""
    return {n: f"COCO_{split}2014_{1000 + n:012d}.jpg" for n in numbers}


def pictures(folder: Path, names: dict[int, str]) -> None:
    """Plain pictures of different colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in names.items():
        Image.new("RGB", SIZE, list(COLOURS.values())[number]).save(folder / name, "JPEG", quality=95)


def captions(names: dict[int, str]) -> dict[str, Any]:
    """An annotation file of captions; as in the official ones, annotations are in no order."""
    annotations = [
        {"image_id": 1000 + n, "id": 10 * n + k, "caption": texts(n)[k]}
        for k in range(2)
        for n in reversed(names)
    ]
    return {"info": _INFO, "licenses": _LICENSES, "images": _images(names), "annotations": annotations}


def instances(names: dict[int, str]) -> dict[str, Any]:
    """An annotation file of boxes: the left half of each picture, and of even ones the lower right quarter."""
    annotations = []
    for n in names:
        boxes = [([0.0, 0.0, 32.0, 48.0], 1)] + ([([32.0, 24.0, 32.0, 24.0], 3)] if n % 2 == 0 else [])
        for k, ((x, y, w, h), category) in enumerate(boxes):
            annotations.append({
                "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                "area": w * h,
                "iscrowd": 0,
                "image_id": 1000 + n,
                "bbox": [x, y, w, h],
                "category_id": category,
                "id": 100 * n + k,
            })  # fmt: skip
    categories = [
        {"supercategory": "person", "id": 1, "name": "person"},
        {"supercategory": "vehicle", "id": 3, "name": "car"},
    ]
    return {
        "info": _INFO, "licenses": _LICENSES, "images": _images(names), "annotations": annotations,
        "categories": categories,
    }  # fmt: skip


def karpathy(number: int, split: str) -> dict[str, Any]:
    """What all of Karpathy's files say about a picture."""
    sentences = [
        {"tokens": text.lower().strip(".").split(), "raw": text, "imgid": number, "sentid": 2 * number + k}
        for k, text in enumerate(texts(number))
    ]
    return {"imgid": number, "sentids": [2 * number, 2 * number + 1], "sentences": sentences, "split": split}


def _images(names: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {
            "license": 4,
            "file_name": name,
            "coco_url": f"http://images.cocodataset.org/train2017/{name}",
            "height": SIZE[1],
            "width": SIZE[0],
            "date_captured": "2013-11-14 17:02:52",
            "flickr_url": f"http://farm7.staticflickr.com/{n}.jpg",
            "id": 1000 + n,
        }
        for n, name in names.items()
    ]


def dump(path: Path, values: Any) -> Path:
    """Writes a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path
