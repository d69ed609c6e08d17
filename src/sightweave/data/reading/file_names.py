"""Finds the files of a dataset by suffix, and recognises splits in their names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from sightweave.data.reading.splits import SPLIT_NAMES

_SPLIT = re.compile(
    # test-dev counts as test: it is the public part of VQA's test set, and not a development set.
    r"(?<![a-z])(train|trainval|val|valid|validation|dev|minival|test[-_]?dev|test)(?![a-z])"
)
_NAMES = SPLIT_NAMES | {"trainval": "train"}
_DEPTH = 3
"""Maximum depth of subfolders that are searched for annotation files."""


def split_of(path: Path) -> str:
    """The split in a file's name: ``train``, ``validation`` or ``test``; empty if the name contains none."""
    found = _SPLIT.findall(path.name.lower().replace("minival", "val"))
    return _NAMES.get(found[-1], "test") if found else ""


def files(path: Path, *suffixes: str) -> list[Path]:
    """The files at or below a path whose names end in one of the lower-case `suffixes`, sorted.

    Hidden files and links to folders are skipped. File types are only checked for matching names, so that folders with very
    many images are searched quickly.
    """
    if path.is_file():
        return [path] if path.name.lower().endswith(suffixes) else []

    found: list[str] = []
    folders = [(str(path), 0)]
    while folders:
        folder, depth = folders.pop()
        try:
            with os.scandir(folder) as inside:
                for one in inside:
                    if one.name.startswith("."):
                        continue
                    if one.name.lower().endswith(suffixes):
                        if one.is_file():
                            found.append(one.path)
                    elif depth < _DEPTH and _may_be_folder(one.name) and one.is_dir(follow_symlinks=False):
                        folders.append((one.path, depth + 1))
        except OSError:
            continue

    return sorted(map(Path, found))


def _may_be_folder(name: str) -> bool:
    """Whether a name may belong to a folder: it has no suffix, or a numeric one as in ``CLEVR_v1.0``."""
    suffix = os.path.splitext(name)[1]
    return not suffix or suffix[1:].isdigit()


def json_files(path: Path) -> list[Path]:
    """The JSON files at or below a path, including those compressed with gzip."""
    return files(path, ".json", ".json.gz")


def among(names: Sequence[str]) -> str:
    """Formats a list of names for a message: the first three, and the number of further ones."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
