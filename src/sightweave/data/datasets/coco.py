"""COCO captions: the official annotation files, Karpathy's split files, LAVIS' copies, and the boxes of instance files.

Microsoft COCO Captions (Chen et al. 2015, arXiv:1504.00325); splits of Karpathy and Fei-Fei 2015 (arXiv:1412.2306) for
COCO, Flickr30k and Flickr8k; the same as LAVIS (Li et al. 2022, arXiv:2209.09019) hands them out. With an
``instances_*.json`` beside the captions, its boxes become regions.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading import json_stream
from sightweave.data.reading.file_names import among, json_files, split_of
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import VALIDATION

_KARPATHY = {"train": "train", "restval": "train", "val": VALIDATION, "test": "test"}
_LARGEST = 1e9
"""Pixels of a side; a larger number is a slip, and integers may be too large to divide by."""
_Boxes = tuple[dict[Any, "array[float]"], list[str]]
"""Of each picture, five numbers a box (left, top, width, height, which name), and the names: official files hold 860 000."""


def recognise(path: Path) -> str:
    """What there is of this format below a path; empty where there is nothing."""
    found = [file.name for file in json_files(path) if _kind(file)]
    return f"captions in {among(found)}" if found else ""


def recognise_pictures(path: Path) -> str:
    """The same for files that hold no captions."""
    found = [file.name for file in json_files(path) if _is_pictures(file)]
    return f"pictures without captions in {among(found)}" if found else ""


def _kind(file: Path) -> str:
    """``official``, ``karpathy`` or ``lavis``; empty for other files."""
    kind, keys = json_stream.glance(file)
    # The key annotations itself stands in the middle of a large file, where a glance does not reach.
    if kind == "object" and {"file_name", "image_id", "caption"} <= keys:
        return "official"
    if kind == "object" and {"images", "filename", "sentences", "raw", "split"} <= keys:
        return "karpathy"
    # Without image_id (in LAVIS' files of val and test) only the name tells them from anybody's list of captions.
    is_named = "karpathy" in file.name.lower() or "flickr30k" in file.name.lower()
    if kind == "array" and {"image", "caption"} <= keys <= {"image", "caption", "image_id"}:
        return "lavis" if is_named or "image_id" in keys else ""
    return ""


def _is_pictures(file: Path) -> bool:
    """Whether a file names pictures and says nothing of them in words: boxes, key points, or a test's pictures alone."""
    kind, keys = json_stream.glance(file)
    if kind != "object" or not {"images", "file_name", "id"} <= keys or {"caption", "question"} & keys:
        return False
    return bool({"bbox", "category_id", "segments_info", "coco_url", "categories"} & keys)


def _is_instances(file: Path) -> bool:
    # Files of keypoints and of panoptic segments have boxes too, of the same things.
    if "instances" not in file.name.lower():
        return False
    kind, keys = json_stream.glance(file)
    return kind == "object" and {"file_name", "bbox", "category_id"} <= keys


@config
class Config(FilesConfig):
    """A folder with annotation files and pictures, or one annotation file."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row a picture, with all its captions; of LAVIS' training files one row a caption.

        Raises:
            DataError: a file is damaged, or two of them hold the same pictures.
        """
        path = Path(self.path).expanduser()
        kinds = {file: kind for file in json_files(path) if (kind := _kind(file))}
        if not kinds:
            yield from self._without_captions(split)
            return
        _check(kinds)
        instances = None
        for file, kind in kinds.items():
            if kind == "karpathy":
                yield from _of_karpathy(file)
                continue
            name = split_of(file)
            if split and name and name != split and not self.split:
                continue
            if kind == "lavis":
                yield from _of_lavis(file, name)
                continue
            if instances is None:
                beside = json_files(path.parent if path.is_file() else path)
                instances = [one for one in beside if _is_instances(one)]
            boxes = [one for one in instances if split_of(one) == name and _same_year(one, file)]
            yield from _of_captions(file, name, boxes)

    def to_check(self) -> FilesConfig:
        """Files without captions are looked at for their pictures and boxes."""
        files = json_files(Path(self.path).expanduser())
        is_silent = not any(map(_kind, files)) and any(map(_is_pictures, files))
        return replace(self, labelled=False) if is_silent else self

    def _without_captions(self, split: str) -> Iterator[Row]:
        """One row a picture of files that hold no captions, with its boxes as regions.

        Raises:
            DataError: there is no such file either, or answers are asked for.
        """
        path = Path(self.path).expanduser()
        files = [file for file in json_files(path) if _is_pictures(file)]
        if not files:
            raise json_stream.missing(path, "captions_*.json or Karpathy's dataset_*.json")
        if self.labelled:
            for file in files:
                json_stream.check(file)  # of one that is cut, its captions may be missing
            raise DataError(
                f"{path}: {among([file.name for file in files])} lists images and possibly boxes, but no "
                "captions or questions, so there is nothing to train on or evaluate. Put captions_*.json in the "
                "same folder, "
                "or set labelled: false to ask about the images."
            )
        for file in files:
            name = split_of(file)
            if not split or not name or name == split:
                yield from _of_pictures(file, name)


def _year(file: Path) -> str:
    found = re.search(r"20\d\d", file.name)
    return found[0] if found else ""


def _same_year(one: Path, other: Path) -> bool:
    return _year(one) == _year(other) or not _year(one) or not _year(other)


def _check(kinds: dict[Path, str]) -> None:
    """Pictures that two files put into different splits would be learnt and tested."""
    years = {_year(file) for file, kind in kinds.items() if kind == "official"}
    if len(set(kinds.values())) < 2 and len(years) < 2 and list(kinds.values()).count("karpathy") < 2:
        return
    names = ", ".join(file.name for file in kinds)
    folder = next(iter(kinds)).parent
    raise DataError(
        f"{folder}: contains several caption releases ({names}), and the same image may be in different splits "
        "of them. Give the path of one file, or keep one release only."
    )


def _mapping(value: Any, field: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowError("wrong_type", field, value, f"must be a JSON object (got {shown(value)}).")
    return value


def _key(values: dict[str, Any], field: str) -> int | str:
    value = values.get(field)
    if value is None:
        raise RowError("missing_field", field, None, f"missing. It has: {', '.join(values) or 'nothing'}.")
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise RowError("wrong_type", field, value, f"must be a number or text (got {shown(value)}).")
    return value


def _of_captions(file: Path, split: str, instances: list[Path]) -> Iterator[Row]:
    captions: dict[int | str, list[Any]] = {}
    first: dict[int | str, int] = {}
    for number, one in enumerate(json_stream.elements(file, "annotations")):
        try:
            key = _key(_mapping(one), "image_id")
            captions.setdefault(key, []).append(one.get("caption"))
            first.setdefault(key, number)
        except RowError as error:
            yield Row(number, error, str(file))
    boxes = yield from _read_boxes(instances)
    for number, image in enumerate(json_stream.elements(file, "images")):
        values: Any
        try:
            values = {"id": _key(_mapping(image), "id")}
            first.pop(values["id"], None)
            values |= _picture(image, captions.get(values["id"]), boxes)
            if split:
                values["split"] = split
        except RowError as error:
            values = error
        yield Row(number, values, str(file))
    for key, number in first.items():
        message = f"no image has the id {shown(key)} of this caption."
        yield Row(number, RowError("unknown_image", "image_id", key, message), str(file))


def _of_pictures(file: Path, split: str) -> Iterator[Row]:
    has_boxes = "bbox" in json_stream.glance(file)[1]
    boxes: _Boxes = ({}, [])
    if has_boxes:
        boxes = yield from _read_boxes([file])
    for number, image in enumerate(json_stream.elements(file, "images")):
        values: Any
        try:
            key = _key(_mapping(image), "id")
            values = {"id": key, "image": image.get("file_name"), "regions": _regions(image, key, boxes)}
            if split:
                values["split"] = split
        except RowError as error:
            values = error
        yield Row(number, values, str(file))


def _picture(image: dict[str, Any], captions: list[Any] | None, boxes: _Boxes) -> dict[str, Any]:
    values = {"image": image.get("file_name"), "regions": _regions(image, image["id"], boxes)}
    return {**values, "unlabelled": True} if captions is None else {**values, "captions": captions}


def _read_boxes(files: list[Path]) -> Generator[Row, None, _Boxes]:
    """All boxes; each that is broken is a row of its own, since its picture's captions are none the worse."""
    found: dict[Any, array[float]] = {}
    names: list[str] = []
    for file in files:
        numbers: dict[Any, int] = {}
        for number, one in enumerate(json_stream.elements(file, "categories")):
            try:
                key, name = _key(_mapping(one), "id"), _key(one, "name")
                numbers[key] = len(names)
                names.append(str(name))
            except RowError as error:
                yield Row(number, error, str(file))
        for number, one in enumerate(json_stream.elements(file, "annotations")):
            try:
                key, category = _key(_mapping(one), "image_id"), _key(one, "category_id")
                if category not in numbers:
                    message = f"no category has the id {shown(category)}."
                    raise RowError("unknown_category", "category_id", category, message)
                found.setdefault(key, array("d")).extend((*_box(one.get("bbox")), numbers[category]))
            except RowError as error:
                yield Row(number, error, str(file))
    return found, names


def _box(value: Any) -> tuple[float, float, float, float]:
    is_numbers = isinstance(value, list) and all(
        isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < _LARGEST for x in value
    )
    if not is_numbers or len(value) != 4:
        message = f"must be four numbers: left, top, width, height in pixels (got {shown(value)})."
        raise RowError("wrong_type", "bbox", value, message)
    left, top, width, height = map(float, value)
    return left, top, width, height


def _regions(image: dict[str, Any], key: int | str, boxes: _Boxes) -> list[dict[str, Any]]:
    numbers, names = boxes
    mine = numbers.get(key)
    if mine is None:
        return []
    for field in ("width", "height"):
        size = image.get(field)
        if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < _LARGEST:
            message = f"must be more than 0 pixels, since the image has boxes (got {shown(size)})."
            raise RowError("wrong_type", field, size, message)
    across, down = image["width"], image["height"]
    return [
        {
            "box": [left / across, top / down, (left + width) / across, (top + height) / down],
            "words": [names[int(name)]],
        }
        for left, top, width, height, name in zip(*[iter(mine)] * 5, strict=True)
    ]


def _of_karpathy(file: Path) -> Iterator[Row]:
    for number, image in enumerate(json_stream.elements(file, "images")):
        values: Any
        try:
            values = _karpathy(_mapping(image))
        except RowError as error:
            values = error
        yield Row(number, values, str(file))


def _karpathy(image: dict[str, Any]) -> dict[str, Any]:
    folder, name, split = image.get("filepath"), image.get("filename"), image.get("split")
    sentences = image.get("sentences")
    if not isinstance(sentences, list):
        raise RowError("wrong_type", "sentences", sentences, f"must be a list (got {shown(sentences)}).")
    return {
        "id": image.get("cocoid", image.get("imgid")),
        "image": f"{folder}/{name}" if folder and isinstance(name, str) else name,
        "captions": [_mapping(one, "sentences").get("raw") for one in sentences],
        "split": _KARPATHY.get(split, split) if isinstance(split, str) else split,
    }


def _of_lavis(file: Path, split: str) -> Iterator[Row]:
    for number, one in enumerate(json_stream.elements(file)):
        values: Any
        try:
            values = {"image": _mapping(one).get("image"), "captions": one.get("caption")}
            if split:
                values["split"] = split
        except RowError as error:
            values = error
        yield Row(number, values, str(file))
