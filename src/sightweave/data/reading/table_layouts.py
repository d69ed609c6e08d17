"""How tables are laid out: which columns hold what, names of classes, splits, and files that differ."""

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
    *(
        "images",
        "decoded_image",
        "image",
        "img",
        "jpg",
        "jpeg",
        "png",
        "webp",
        "picture",
        "pictures",
        "photo",
    ),
    *("image_list", "image_bytes", "image_path"),
)
"""What a column of pictures may be called; the first that is there is taken."""
TURNS = ("texts", "conversations", "messages")
CAPTIONS = ("captions", "caption", "title", "text")
QUESTIONS = ("question", "query")


def image_columns(names: Sequence[str]) -> list[str]:
    """Columns that hold the pictures of a row: one, or ``image_1``, ``image_2`` and so on."""
    for name in IMAGES:
        if name in names:
            return [name]
    counted = [name for name in names if name.startswith("image_") and name[6:].isdigit()]
    return sorted(counted, key=lambda name: int(name[6:]))


def picture_like(names: Mapping[str, str]) -> list[str]:
    """Columns that look like pictures by their name, or by their type: bytes, perhaps beside a path."""
    return [
        name
        for name, kind in names.items()
        if is_picture_name(name) or ("bytes: " in kind and "binary" in kind and "path: " in kind)
    ]


def no_pictures(file: Path, names: Mapping[str, str]) -> str:
    """The message for a table without a known column of pictures."""
    found = picture_like(names)
    hint = f" {', '.join(map(repr, found))} looks like images: rename it to image." if found else ""
    return (
        f"{file}: no image column ({', '.join(IMAGES[:3])} or similar); the columns are "
        f"{', '.join(names)}.{hint}"
    )


def text_columns(names: Sequence[str]) -> list[str]:
    """Columns that hold something to learn."""
    known = (*TURNS, *CAPTIONS, *QUESTIONS, "source", "label")
    return [name for name in known if name in names]


def is_turns(names: Mapping[str, str]) -> bool:
    """Whether a table is laid out as that of The Cauldron: ``images`` and ``texts`` of user and assistant."""
    kind = names.get("texts", "")
    return "images" in names and "user:" in kind and "assistant:" in kind


def split_below(file: Path, root: Path) -> str:
    """The split that a file's name says, or else the nearest folder below `root`; empty where none does."""
    parts = file.relative_to(root).parents if file.is_relative_to(root) and file != root else ()
    names = [file.name, *(part.name for part in parts)]
    return next((name for one in names if one and (name := split_of(Path(one)))), "")


def class_names(features: Any) -> dict[str, list[str]]:
    """Columns that hold the number of a class, with the names of the classes, from ``features`` of `datasets`."""
    found = {}
    for name, about in features.items() if isinstance(features, dict) else ():
        names = about.get("names") if isinstance(about, dict) and about.get("_type") == "ClassLabel" else None
        if isinstance(names, list) and all(isinstance(one, str) for one in names):
            found[name] = names
    return found


def class_names_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """The same from what `datasets` writes into the schema of a file."""
    try:
        about = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    except (ValueError, RecursionError):
        return {}
    info = about.get("info") if isinstance(about, dict) else None
    return class_names(info.get("features")) if isinstance(info, dict) else {}


class Layouts:
    """Keeps the columns of the first file of each folder and split, and says where a later one differs."""

    def __init__(self) -> None:
        self._first: dict[tuple[Path, str], tuple[Path, dict[str, str]]] = {}

    def check(self, file: Path, split: str, names: Mapping[str, str]) -> None:
        """Compares a file with the first one.

        Raises:
            DataError: a column is missing, or of another type.
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
    """Whether two types are one; a file in which a column or a part of it is never filled knows none of it: null."""
    if "null" in one and "null" in other:
        return True
    known, unknown = (one, other) if "null" in other else (other, one)
    return re.fullmatch(re.escape(unknown).replace("null", ".+"), known) is not None
