"""COCO captions, in the official annotation files, Karpathy's split files or LAVIS' files, with boxes of instance files.

Microsoft COCO Captions (Chen et al. 2015, arXiv:1504.00325). Karpathy and Fei-Fei 2015 (arXiv:1412.2306) published splits of
COCO, Flickr30k and Flickr8k, and LAVIS (Li et al. 2022, arXiv:2209.09019) further copies of the captions. Boxes in an
``instances_*.json`` next to the captions become regions.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading import json_stream
from sightweave.data.reading.file_names import among, json_files, split_of
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig
from sightweave.data.reading.splits import VALIDATION

_KARPATHY_SPLITS = {"train": "train", "restval": "train", "val": VALIDATION, "test": "test"}
_MAX_PIXELS = 1e9
"""Maximum number of pixels along a side; larger numbers are errors, and may be too large for a float."""
_NUMBERS_PER_BOX = 5
_Boxes = tuple[dict[Any, "array[float]"], list[str]]
"""Boxes by image, and the list of names. Each box is five numbers in a flat array (left, top, width, height, index of the
name), which saves memory, since the official files have 860,000 boxes."""


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = [file.name for file in json_files(path) if _kind(file)]
    return f"captions in {among(found)}" if found else ""


def recognise_pictures(path: Path) -> str:
    """A short description of the files that list images without captions; empty if there are none."""
    found = [file.name for file in json_files(path) if _lists_only_images(file)]
    return f"images without captions in {among(found)}" if found else ""


def _kind(file: Path) -> str:
    """The kind of a caption file: ``official``, ``karpathy`` or ``lavis``; empty for other files."""
    kind, keys = json_stream.glance(file)

    # The key "annotations" cannot be checked: in a large file, it is in the middle, which `glance` does not read.
    if kind == "object" and {"file_name", "image_id", "caption"} <= keys:
        return "official"
    if kind == "object" and {"images", "filename", "sentences", "raw", "split"} <= keys:
        return "karpathy"

    # LAVIS' val and test files have no image_id, so only their names distinguish them from other lists of captions.
    if kind == "array" and {"image", "caption"} <= keys <= {"image", "caption", "image_id"}:
        name = file.name.lower()
        is_lavis = "image_id" in keys or "karpathy" in name or "flickr30k" in name
        return "lavis" if is_lavis else ""
    return ""


def _lists_only_images(file: Path) -> bool:
    """Whether a file lists images without texts, such as a file of boxes or keypoints, or of a test set's images."""
    kind, keys = json_stream.glance(file)
    if kind != "object" or not {"images", "file_name", "id"} <= keys or {"caption", "question"} & keys:
        return False
    return bool({"bbox", "category_id", "segments_info", "coco_url", "categories"} & keys)


def _is_instances(file: Path) -> bool:
    # Keypoint and panoptic files have boxes of the same objects too, so the name must contain "instances".
    if "instances" not in file.name.lower():
        return False
    kind, keys = json_stream.glance(file)
    return kind == "object" and {"file_name", "bbox", "category_id"} <= keys


@config
class Config(FilesConfig):
    """A folder with annotation files and images, or one annotation file."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per image with all its captions; one row per caption for LAVIS' training files.

        Raises:
            DataError: A file is damaged, or two of them contain the same images.
        """
        path = Path(self.path).expanduser()
        kinds: dict[Path, str] = {}
        for file in json_files(path):
            if kind := _kind(file):
                kinds[file] = kind

        if not kinds:
            yield from self._without_captions(split)
            return
        _check_one_release(kinds)

        # Search for instance files only once official captions are found, which have no boxes of their own.
        instances = None
        for file, kind in kinds.items():
            if kind == "karpathy":
                yield from _read_karpathy(file)
                continue

            name = split_of(file)
            if split and name and name != split and not self.split:
                continue
            if kind == "lavis":
                yield from _read_lavis(file, name)
                continue

            if instances is None:
                near = json_files(path.parent if path.is_file() else path)
                instances = [one for one in near if _is_instances(one)]
            boxes = [one for one in instances if split_of(one) == name and _same_year(one, file)]
            yield from _read_captions(file, name, boxes)

    def to_check(self) -> FilesConfig:
        """The config with which ``data check`` reads the source: without captions, only images and boxes are checked."""
        files = json_files(Path(self.path).expanduser())
        is_without_captions = not any(map(_kind, files)) and any(map(_lists_only_images, files))
        return replace(self, labelled=False) if is_without_captions else self

    def _without_captions(self, split: str) -> Iterator[Row]:
        """Yields one row per image from files without captions, with the image's boxes as regions.

        Raises:
            DataError: There are no such files, or the rows must have answers.
        """
        path = Path(self.path).expanduser()
        files = [file for file in json_files(path) if _lists_only_images(file)]
        if not files:
            raise json_stream.missing(path, "captions_*.json or Karpathy's dataset_*.json")

        if self.labelled:
            for file in files:
                json_stream.check(
                    file
                )  # if the file is truncated, its captions may be lost, and this is reported instead
            names = among([file.name for file in files])
            raise DataError(
                f"{path}: {names} lists images and possibly boxes, but no captions or questions, so there is "
                "nothing to train on or evaluate. Put captions_*.json in the same folder, or set labelled: false "
                "to ask about the images."
            )

        for file in files:
            name = split_of(file)
            if not split or not name or name == split:
                yield from _read_images(file, name)


def _year(file: Path) -> str:
    found = re.search(r"20\d\d", file.name)
    return found[0] if found else ""


def _same_year(one: Path, other: Path) -> bool:
    """Whether two file names have the same year, or one of them has none."""
    years = _year(one), _year(other)
    return years[0] == years[1] or not all(years)


def _check_one_release(kinds: dict[Path, str]) -> None:
    """Raises `DataError` if files come from several releases, which may put an image into both training and test."""
    years = {_year(file) for file, kind in kinds.items() if kind == "official"}
    all_kinds = list(kinds.values())
    if len(set(all_kinds)) < 2 and len(years) < 2 and all_kinds.count("karpathy") < 2:
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


def _read_captions(file: Path, split: str, instances: list[Path]) -> Iterator[Row]:
    # Read the captions first, since they refer to images by id.
    captions: dict[int | str, list[Any]] = {}
    first_number: dict[int | str, int] = {}
    for number, one in enumerate(json_stream.elements(file, "annotations")):
        try:
            key = _key(_mapping(one), "image_id")
            captions.setdefault(key, []).append(one.get("caption"))
            first_number.setdefault(key, number)
        except RowError as error:
            yield Row(number, error, str(file))

    boxes = yield from _read_boxes(instances)

    for number, image in enumerate(json_stream.elements(file, "images")):
        values: Any
        try:
            key = _key(_mapping(image), "id")
            first_number.pop(key, None)
            values = _image_values(image, key, captions.get(key), boxes)
            if split:
                values["split"] = split
        except RowError as error:
            values = error
        yield Row(number, values, str(file))

    # The remaining captions belong to images that the file does not list.
    for key, number in first_number.items():
        message = f"no image has the id {shown(key)} of this caption."
        yield Row(number, RowError("unknown_image", "image_id", key, message), str(file))


def _image_values(
    image: dict[str, Any], key: int | str, captions: list[Any] | None, boxes: _Boxes
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": key,
        "image": image.get("file_name"),
        "regions": _regions(image, key, boxes),
    }
    if captions is None:
        values["unlabelled"] = True
    else:
        values["captions"] = captions
    return values


def _read_images(file: Path, split: str) -> Iterator[Row]:
    boxes: _Boxes = ({}, [])
    if "bbox" in json_stream.glance(file)[1]:
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


def _read_boxes(files: list[Path]) -> Generator[Row, None, _Boxes]:
    """Returns all boxes, and yields a row with an error for each bad one, so that its image's captions can still be used."""
    found: dict[Any, array[float]] = {}
    names: list[str] = []

    for file in files:
        # Category ids are unique only within a file, so names are numbered across all files.
        index_of: dict[Any, int] = {}
        for number, one in enumerate(json_stream.elements(file, "categories")):
            try:
                key, name = _key(_mapping(one), "id"), _key(one, "name")
                index_of[key] = len(names)
                names.append(str(name))
            except RowError as error:
                yield Row(number, error, str(file))

        for number, one in enumerate(json_stream.elements(file, "annotations")):
            try:
                key, category = _key(_mapping(one), "image_id"), _key(one, "category_id")
                if category not in index_of:
                    message = f"no category has the id {shown(category)}."
                    raise RowError("unknown_category", "category_id", category, message)
                found.setdefault(key, array("d")).extend((*_box(one.get("bbox")), index_of[category]))
            except RowError as error:
                yield Row(number, error, str(file))

    return found, names


def _box(value: Any) -> tuple[float, float, float, float]:
    is_box = isinstance(value, list) and len(value) == 4 and all(map(_is_pixels, value))
    if not is_box:
        message = f"must be four numbers: left, top, width, height in pixels (got {shown(value)})."
        raise RowError("wrong_type", "bbox", value, message)

    left, top, width, height = map(float, value)
    return left, top, width, height


def _is_pixels(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MAX_PIXELS


def _regions(image: dict[str, Any], key: int | str, boxes: _Boxes) -> list[dict[str, Any]]:
    """The boxes of one image as regions, with coordinates as fractions of its width and height."""
    numbers_of, names = boxes
    numbers = numbers_of.get(key)
    if numbers is None:
        return []

    for field in ("width", "height"):
        size = image.get(field)
        if not _is_pixels(size) or not size > 0:
            message = f"must be more than 0 pixels, since the image has boxes (got {shown(size)})."
            raise RowError("wrong_type", field, size, message)
    image_width, image_height = image["width"], image["height"]

    regions = []
    for start in range(0, len(numbers), _NUMBERS_PER_BOX):
        left, top, width, height, name = numbers[start : start + _NUMBERS_PER_BOX]
        right, bottom = left + width, top + height
        box = [left / image_width, top / image_height, right / image_width, bottom / image_height]
        regions.append({"box": box, "words": [names[int(name)]]})
    return regions


def _read_karpathy(file: Path) -> Iterator[Row]:
    for number, image in enumerate(json_stream.elements(file, "images")):
        values: Any
        try:
            values = _karpathy_values(_mapping(image))
        except RowError as error:
            values = error
        yield Row(number, values, str(file))


def _karpathy_values(image: dict[str, Any]) -> dict[str, Any]:
    folder, name, split = image.get("filepath"), image.get("filename"), image.get("split")
    sentences = image.get("sentences")
    if not isinstance(sentences, list):
        raise RowError("wrong_type", "sentences", sentences, f"must be a list (got {shown(sentences)}).")

    return {
        "id": image.get("cocoid", image.get("imgid")),
        "image": f"{folder}/{name}" if folder and isinstance(name, str) else name,
        "captions": [_mapping(one, "sentences").get("raw") for one in sentences],
        "split": _KARPATHY_SPLITS.get(split, split) if isinstance(split, str) else split,
    }


def _read_lavis(file: Path, split: str) -> Iterator[Row]:
    for number, one in enumerate(json_stream.elements(file)):
        values: Any
        try:
            values = {"image": _mapping(one).get("image"), "captions": one.get("caption")}
            if split:
                values["split"] = split
        except RowError as error:
            values = error
        yield Row(number, values, str(file))
