"""Folders of images with a ``metadata.csv``, ``.jsonl`` or ``.parquet`` next to them, or with one folder per class.

This is the layout of Hugging Face Datasets (Lhoest et al. 2021, arXiv:2109.02846). ``file_name`` (or ``file_names``,
``image_file_name``, ``images_file_names``) is relative to the metadata's folder. If the metadata is above the split folders,
each row has the split of the first folder in its image's path. Without metadata, the name of an image's folder is its class,
which becomes its caption; the captioning metrics include exact match, which then scores classification.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.reading import arrow_files, row_files, table_columns, table_layouts
from sightweave.data.reading.choice_columns import Convention
from sightweave.data.reading.file_names import among, files
from sightweave.data.reading.image_folders import (
    all_below,
    check_format,
    class_of,
    classes_below,
    has_folders,
    is_bare,
    not_a_split,
    split_folders,
    split_name_of,
)
from sightweave.data.reading.row_files import Row, RowError, shown
from sightweave.data.reading.source import FilesConfig

_METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_IMAGE_COLUMNS = ("image_file_name", "image_file_names", "images_file_name", "images_file_names")
_COLUMN_SUFFIXES = ("_file_name", "_file_names")
_OTHER_MEDIA = ("audio", "video", "text", "caption", "pdf")
"""Prefixes of the names of columns whose files are not images."""


def recognise(path: Path) -> str:
    """A short description of the files in this format at or below `path`; empty if there are none."""
    found = _metadata_files(path)
    if found:
        return f"file names in {among([file.name for file in found])}" if _names_images(found[0]) else ""
    if not path.is_dir() or not is_bare(path):
        return ""

    classes, outside = classes_below(path)
    more = f", and {outside} images outside them" if outside else ""
    return f"images in class folders ({among(sorted(classes))}){more}" if classes else ""


def _metadata_files(path: Path) -> list[Path]:
    return [file for file in files(path, *_METADATA_NAMES) if file.name.lower() in _METADATA_NAMES]


def _names_images(file: Path) -> bool:
    """Whether the metadata has a column of image file names."""
    if file.suffix.lower() == ".parquet":
        names = list(arrow_files.columns(file))
    else:
        try:
            first = next(iter(row_files.read(file)), None)
        except DataError:
            return False
        names = list(first.values) if first is not None and isinstance(first.values, dict) else []

    # Rows with image and caption are the user's own format.
    return bool(_name_columns(names)) and not {"image", "images"} & set(names)


def _name_columns(names: Sequence[str]) -> list[str]:
    """Names of the columns that hold image file names, found by the same rules as in Hugging Face Datasets."""
    for chosen in ({"file_names"}, {"file_name"}, set(_IMAGE_COLUMNS)):
        found = [name for name in names if name in chosen]
        if found:
            return found
    return [name for name in names if name.endswith(_COLUMN_SUFFIXES) and not name.startswith(_OTHER_MEDIA)]


@config
class Config(FilesConfig):
    """A folder with metadata and images, a folder with one folder per class, or a metadata file."""

    def rows(self, split: str) -> Iterator[Row]:
        """Yields one row per metadata row, or per image if there is no metadata."""
        path = Path(self.path).expanduser()
        found = _metadata_files(path)
        root = path if path.is_dir() else path.parent
        if not found:
            yield from _read_class_folders(root, split)

        convention = Convention(lambda: _readable_rows(found))
        for file in found:
            splits = _Splits(file, root)
            if split and splits.named and splits.named != split:
                continue

            folder = file.parent.relative_to(root).as_posix()
            prefix = "" if folder == "." else f"{folder}/"
            for number, cells in _cells(file):
                values = _values(cells, prefix, splits, convention)
                if isinstance(values, dict):
                    values.setdefault("id", f"{file.relative_to(root).as_posix()}#{number}")
                yield Row(number, values, str(file))


def _cells(file: Path) -> Iterator[tuple[int, Any]]:
    if file.suffix.lower() == ".parquet":
        yield from arrow_files.rows(file)
        return
    for row in row_files.read(file):
        yield row.line, row.values


def _readable_rows(metadata: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yields the readable rows of all metadata files."""
    for file in metadata:
        for _, cells in _cells(file):
            if isinstance(cells, dict):
                yield cells


class _Splits:
    """Determines the split of each row of a metadata file, by the file's folder or by the first folder of the row's image.

    Args:
        file: The metadata file.
        root: The dataset's folder.
    """

    def __init__(self, file: Path, root: Path) -> None:
        self.named = table_layouts.split_below(file, root)
        """Split of all rows; empty if the file's path contains none."""
        self.unknown = ""
        """Name of the file's folder, if it is next to split folders but is not a split itself."""
        self.below: list[str] = []
        """Names of the split folders next to the metadata file."""

        if not self.named:
            self.below = split_folders(file.parent)
        if not self.named and file.parent != root:
            self.siblings = split_folders(file.parent.parent)
            self.unknown = file.parent.name if self.siblings else ""

    def of(self, names: Sequence[str]) -> str:
        """The split of a row, given the names of its images; empty if no folder is named after a split.

        Raises:
            RowError: A folder next to split folders is not a split, or the images are in several splits.
        """
        if self.unknown:
            raise not_a_split(self.unknown, self.siblings)
        if self.named or not self.below:
            return self.named

        folders = {name.removeprefix("./").partition("/")[0] for name in names if "/" in name}
        found = {folder: split_name_of(folder) for folder in sorted(folders)}
        for folder, split in found.items():
            if not split:
                raise not_a_split(folder, self.below)

        if len(set(found.values())) > 1:
            message = f"one row has images from several splits ({', '.join(found)})."
            raise RowError("bad_split", "file_name", list(names), message)
        return next(iter(found.values()), "")


def _values(cells: Any, prefix: str, splits: _Splits, convention: Convention) -> Any:
    if isinstance(cells, RowError):
        return cells
    try:
        names = _image_names(cells)
        values = table_columns.fields(cells, num_images=len(names), convention=convention)
        has_split = "split" in values or any(map(_is_absolute, names))
        split = splits.named if has_split else splits.of(names)
    except RowError as error:
        return error

    # Paths are only joined as text here; one that leaves the folder is rejected when the image is looked up.
    values["images"] = [name if _is_absolute(name) else f"{prefix}{name}" for name in names]
    if split:
        values.setdefault("split", split)
    return values


def _is_absolute(name: str) -> bool:
    return os.path.isabs(name) or name.lower().startswith("file:")


def _image_names(cells: dict[str, Any]) -> list[str]:
    """The image file names of a row, in the order of its columns.

    Raises:
        RowError: The row has no image, or a name is not a text.
    """
    columns = _name_columns(list(cells))
    names: list[Any] = []
    for column in columns or ["file_name"]:
        value = cells.get(column)
        if column.endswith("s") and value is not None:
            if not isinstance(value, list):
                raise RowError("wrong_type", column, value, f"must be a list (got {shown(value)}).")
            names += value
        elif value is not None or len(columns) < 2:  # if there are several columns, some may be empty
            names.append(value)

    for name in names:
        if not isinstance(name, str) or not name:
            message = f"must be the name of an image (got {shown(name)})."
            raise RowError("missing_field", columns[0] if columns else "file_name", name, message)
    return names


def _read_class_folders(root: Path, split: str) -> Iterator[Row]:
    splits = [name for name in split_folders(root) if has_folders(root / name)]

    for number, file in enumerate(all_below(root)):
        first = file.partition("/")[0] if "/" in file else ""
        name = split_name_of(first)
        if split and name and name != split:
            continue

        values: Any
        try:
            if first and not name and splits and has_folders(root / first):
                raise not_a_split(first, splits)
            values = _class_values(file, name)
        except RowError as error:
            values = error
        yield Row(number, values, str(root), ((str(root / file), 0),))


def _class_values(file: str, split: str) -> dict[str, Any]:
    check_format(file)
    caption = class_of(file)
    if not caption:
        message = "is not in a class folder, so it has no caption."
        raise RowError("missing_field", "caption", file, message)

    values = {"id": file, "image": file, "caption": caption}
    return {**values, "split": split} if split else values
