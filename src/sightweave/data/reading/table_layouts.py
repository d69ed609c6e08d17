"""Recognises the layout of tables: the roles of columns, class names, splits, and files whose columns differ."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightweave.core.errors import DataError
from sightweave.data.reading.file_names import split_of
from sightweave.data.reading.image_marks import is_picture_name

IMAGES = (
    *("images", "decoded_image", "image", "img", "jpg", "jpeg", "png", "webp", "picture", "pictures"),
    *("photo", "image_list", "image_bytes", "image_path"),
)
"""Names of image columns; the first one that a table has is used."""
TURNS = ("texts", "conversations", "messages")
CAPTIONS = ("captions", "caption", "title", "text")
QUESTIONS = ("question", "query")


def image_columns(names: Sequence[str]) -> list[str]:
    """Names of the columns that hold a row's images: a single one, or ``image_1``, ``image_2`` and so on."""
    for name in IMAGES:
        if name in names:
            return [name]
    counted = [name for name in names if name.startswith("image_") and name[6:].isdigit()]
    return sorted(counted, key=lambda name: int(name[6:]))


def picture_like(names: Mapping[str, str]) -> list[str]:
    """Names of the columns that look like images: by name, or by type (a struct of bytes and path)."""
    found = []
    for name, kind in names.items():
        is_image_struct = "bytes: " in kind and "binary" in kind and "path: " in kind
        if is_image_struct or is_picture_name(name):
            found.append(name)
    return found


def no_pictures(file: Path, names: Mapping[str, str]) -> str:
    """The error message for a table without a known image column."""
    found = picture_like(names)
    hint = (
        f" Possible image columns: {', '.join(map(repr, found))}; rename one of them to image."
        if found
        else ""
    )
    return (
        f"{file}: no image column ({', '.join(IMAGES[:3])} or similar); the columns are "
        f"{', '.join(names)}.{hint}"
    )


def text_columns(names: Sequence[str]) -> list[str]:
    """Names of the columns that hold texts to train on."""
    known = (*TURNS, *CAPTIONS, *QUESTIONS, "source", "label")
    return [name for name in known if name in names]


def is_turns(names: Mapping[str, str]) -> bool:
    """Whether a table has the layout of The Cauldron: a column ``images``, and ``texts`` with user and assistant texts."""
    kind = names.get("texts", "")
    return "images" in names and "user:" in kind and "assistant:" in kind


def split_below(file: Path, root: Path) -> str:
    """The split in the name of a file, or of the nearest folder above it and below `root`; empty if there is none."""
    folders = file.relative_to(root).parents if file.is_relative_to(root) and file != root else ()
    for part in (file, *folders):
        split = split_of(Path(part.name)) if part.name else ""
        if split:
            return split
    return ""


def class_names(features: Any) -> dict[str, list[str]]:
    """Class names for each column that holds class numbers, from the ``features`` that Hugging Face Datasets writes."""
    if not isinstance(features, dict):
        return {}

    found = {}
    for name, about in features.items():
        if not isinstance(about, dict) or about.get("_type") != "ClassLabel":
            continue
        names = about.get("names")
        if isinstance(names, list) and all(isinstance(one, str) for one in names):
            found[name] = names
    return found


def class_names_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Class names as in `class_names`, from the metadata that Hugging Face Datasets writes into a file's schema."""
    try:
        about = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    except (ValueError, RecursionError):
        return {}
    info = about.get("info") if isinstance(about, dict) else None
    return class_names(info.get("features")) if isinstance(info, dict) else {}


class Layouts:
    """Checks that all files of the same folder and split have the same columns."""

    def __init__(self) -> None:
        self._first: dict[tuple[Path, str], tuple[Path, dict[str, str]]] = {}

    def check(self, file: Path, split: str, names: Mapping[str, str]) -> None:
        """Compares the columns of a file with those of the first file of the same folder and split.

        Args:
            file: Path of the file.
            split: Split of the file.
            names: Type of each column by its name.

        Raises:
            DataError: A column of the first file is missing or has another type.
        """
        plain = {name: kind.replace("large_", "") for name, kind in names.items()}
        first, known = self._first.setdefault((file.parent, split), (file, plain))
        for name, kind in known.items():
            if name not in plain:
                raise DataError(
                    f"{file}: no column {name!r}, which {first.name} has; all files need the same columns."
                )
            if not _are_alike(kind, plain[name]):
                raise DataError(f"{file}: column {name!r} is {plain[name]}, but {kind} in {first.name}.")


def _are_alike(one: str, other: str) -> bool:
    """Whether two column types agree. A column or inner field without values has the type null, which agrees with any."""
    if "null" in one and "null" in other:
        return True

    known, unknown = (one, other) if "null" in other else (other, one)
    pattern = re.escape(unknown).replace("null", ".+")
    return re.fullmatch(pattern, known) is not None
