"""Folders of pictures with a ``metadata.csv``, ``.jsonl`` or ``.parquet`` beside them, or with one folder for each class.

The layout of `datasets` (Lhoest et al. 2021, arXiv:2109.02846): ``file_name`` (or ``file_names``) starts from the folder
of the metadata. Without any metadata, the folder's name is the class, and is learnt as the caption: nobody asked a
question, and the table of captions compares the class exactly.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.data.datasets import _arrow, _columns, _layouts, _rows
from sightweave.data.datasets._choices import Convention
from sightweave.data.datasets._files import among, files, split_of
from sightweave.data.datasets._folders import all_below, check_format, class_of, classes_below, is_bare
from sightweave.data.datasets._rows import Row, RowError, shown
from sightweave.data.datasets._source import FilesConfig

_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def recognise(path: Path) -> str:
    """What there is of this format below a path; empty where there is nothing."""
    found = _metadata(path)
    if found:
        return f"file names in {among([file.name for file in found])}" if _names_files(found[0]) else ""
    if not path.is_dir() or not is_bare(path):
        return ""
    classes, outside = classes_below(path)
    more = f", and {outside} pictures in none of them" if outside else ""
    return f"pictures in folders of classes ({among(sorted(classes))}){more}" if classes else ""


def _metadata(path: Path) -> list[Path]:
    return [file for file in files(path, *_NAMES) if file.name.lower() in _NAMES]


def _names_files(file: Path) -> bool:
    if file.suffix.lower() == ".parquet":
        names = set(_arrow.columns(file))
    else:
        try:
            first = next(iter(_rows.read(file)), None)
        except DataError:
            return False
        names = set(first.values) if first is not None and isinstance(first.values, dict) else set()
    # Rows with image and caption are the user's own format.
    return bool(names & {"file_name", "file_names"}) and not names & {"image", "images"}


@config
class Config(FilesConfig):
    """A folder with metadata and pictures, one with a folder for each class, or a file of metadata."""

    def rows(self, split: str) -> Iterator[Row]:
        """One row for each of the metadata, or for each picture."""
        path = Path(self.path).expanduser()
        found = _metadata(path)
        root = path if path.is_dir() else path.parent
        if not found:
            yield from _of_classes(root, split)
        convention = Convention(lambda: _every(found))
        for file in found:
            name = _layouts.split_below(file, root)
            if split and name and name != split:
                continue
            folder = file.parent.relative_to(root).as_posix()
            for number, cells in _cells(file):
                values = _translated(cells, "" if folder == "." else f"{folder}/", name, convention)
                if isinstance(values, dict):
                    values.setdefault("id", f"{file.relative_to(root).as_posix()}#{number}")
                yield Row(number, values, str(file))


def _cells(file: Path) -> Iterator[tuple[int, Any]]:
    if file.suffix.lower() == ".parquet":
        yield from _arrow.rows(file)
    else:
        yield from ((row.line, row.values) for row in _rows.read(file))


def _every(found: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """All rows that can be read, whatever their split."""
    for file in found:
        yield from (cells for _, cells in _cells(file) if isinstance(cells, dict))


def _translated(cells: Any, folder: str, split: str, convention: Convention) -> Any:
    if isinstance(cells, RowError):
        return cells
    try:
        names = cells.get("file_names")
        names = [cells.get("file_name")] if names is None else names
        if not isinstance(names, list):
            raise RowError("wrong_type", "file_names", names, f"must be a list (got {shown(names)}).")
        for name in names:
            if not isinstance(name, str) or not name:
                raise RowError(
                    "missing_field", "file_name", name, f"must name a picture (got {shown(name)})."
                )
        values = _columns.fields(cells, num_images=len(names), convention=convention)
    except RowError as error:
        return error
    # Joined as text: a path that is absolute or leaves the folder is refused where pictures are looked up.
    values["images"] = [
        name if os.path.isabs(name) or name.lower().startswith("file:") else f"{folder}{name}"
        for name in names
    ]
    if split:
        values.setdefault("split", split)
    return values


def _of_classes(root: Path, split: str) -> Iterator[Row]:
    for number, file in enumerate(all_below(root)):
        name = split_of(Path(file.split("/")[0])) if "/" in file else ""
        if split and name and name != split:
            continue
        values: Any
        try:
            values = _classed(file, name)
        except RowError as error:
            values = error
        yield Row(number, values, str(root), ((str(root / file), 0),))


def _classed(file: str, split: str) -> dict[str, Any]:
    check_format(file)
    caption = class_of(file)
    if not caption:
        message = "lies in no folder of a class, so it has no caption."
        raise RowError("missing_field", "caption", file, message)
    values = {"id": file, "image": file, "caption": caption}
    return {**values, "split": split} if split else values
