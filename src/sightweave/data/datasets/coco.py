"""COCO captions: the official annotation files, Karpathy's split files, and the boxes of the instance files.

Microsoft COCO Captions (Chen et al. 2015, arXiv:1504.00325); splits of Karpathy and Fei-Fei 2015 (arXiv:1412.2306) for
COCO, Flickr30k and Flickr8k. With an ``instances_*.json`` beside the captions, its boxes become regions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.data.datasets import _json
from sightweave.data.datasets._files import among, json_files, split_of
from sightweave.data.datasets._rows import Row
from sightweave.data.datasets._table import FilesConfig

_KARPATHY = {"train": "train", "restval": "train", "val": "val", "test": "test"}


def recognise(path: Path) -> str:
    """What there is of this format below a path; empty where there is nothing."""
    found = [file.name for file in json_files(path) if _is_captions(file) or _is_karpathy(file)]
    return f"captions in {among(found)}" if found else ""


def _is_captions(file: Path) -> bool:
    kind, keys = _json.glance(file)
    return kind == "object" and {"file_name", "image_id", "caption"} <= keys


def _is_karpathy(file: Path) -> bool:
    kind, keys = _json.glance(file)
    return kind == "object" and {"filename", "sentences", "raw", "split"} <= keys


def _is_instances(file: Path) -> bool:
    kind, keys = _json.glance(file)
    return kind == "object" and {"file_name", "bbox", "category_id"} <= keys


@config
class Config(FilesConfig):
    """A folder with annotation files and pictures, or one annotation file."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row a picture, with all its captions."""
        files = json_files(Path(self.path).expanduser())
        beside = json_files(Path(self.path).expanduser().parent) if len(files) == 1 else files
        for file in files:
            if _is_karpathy(file):
                yield from _of_karpathy(file)
            elif _is_captions(file):
                name = split_of(file)
                if not split or not name or name == split or self.split:
                    boxes = [one for one in beside if split_of(one) == name and _is_instances(one)]
                    yield from _of_captions(file, name, boxes)


def _of_captions(file: Path, split: str, boxes: list[Path]) -> Iterator[Row]:
    captions: dict[Any, list[Any]] = {}
    for one in _json.elements(file, "annotations"):
        captions.setdefault(one.get("image_id"), []).append(one.get("caption"))
    regions = _regions(boxes)
    for number, image in enumerate(_json.elements(file, "images")):
        identity = image.get("id")
        values: dict[str, Any] = {
            "id": identity,
            "image": image.get("file_name"),
            "captions": captions.get(identity, []),
            "regions": [_region(one, image) for one in regions.get(identity, [])],
        }
        if split:
            values["split"] = split
        yield Row(number, values, str(file))


def _regions(files: list[Path]) -> dict[Any, list[tuple[Any, str]]]:
    found: dict[Any, list[tuple[Any, str]]] = {}
    for file in files:
        names = {one["id"]: one["name"] for one in _json.elements(file, "categories")}
        for one in _json.elements(file, "annotations"):
            found.setdefault(one.get("image_id"), []).append((one["bbox"], names[one["category_id"]]))
    return found


def _region(one: tuple[Any, str], image: dict[str, Any]) -> dict[str, Any]:
    (left, top, width, height), name = one
    across, down = image["width"], image["height"]
    return {
        "box": [left / across, top / down, (left + width) / across, (top + height) / down],
        "words": [name],
    }


def _of_karpathy(file: Path) -> Iterator[Row]:
    for number, image in enumerate(_json.elements(file, "images")):
        folder = image.get("filepath")
        name = image.get("filename")
        values = {
            "id": image.get("cocoid", image.get("imgid")),
            "image": f"{folder}/{name}" if folder and isinstance(name, str) else name,
            "captions": [sentence.get("raw") for sentence in image.get("sentences", [])],
            "split": _KARPATHY.get(image.get("split"), image.get("split")),
        }
        yield Row(number, values, str(file))
