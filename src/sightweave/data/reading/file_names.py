"""Finds the files of a dataset, and reads the split from their names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from sightweave.data.reading.splits import SPLIT_NAMES

_SPLIT = re.compile(
    # test-dev, the public part of VQA's test set, is not a development set.
    r"(?<![a-z])(train|trainval|val|valid|validation|dev|minival|test[-_]?dev|test)(?![a-z])"
)
_NAMES = SPLIT_NAMES | {"trainval": "train"}
_DEPTH = 3
"""Levels of folders below the given one that are searched for annotation files."""


def split_of(path: Path) -> str:
    """``train``, ``validation`` or ``test``, from the name of a file; empty if it names no split."""
    found = _SPLIT.findall(path.name.lower().replace("minival", "val"))
    return _NAMES.get(found[-1], "test") if found else ""


def files(path: Path, *suffixes: str) -> list[Path]:
    """The path itself, or all files below a folder whose name ends in one of `suffixes` (lower case), sorted.

    In folders with very many files, such as image folders, only the names are looked at.
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
    """Whether a name may be that of a folder: it has no suffix, or one of digits as in ``CLEVR_v1.0``."""
    suffix = os.path.splitext(name)[1]
    return not suffix or suffix[1:].isdigit()


def json_files(path: Path) -> list[Path]:
    """JSON files, including those compressed with gzip."""
    return files(path, ".json", ".json.gz")


def among(names: Sequence[str]) -> str:
    """The first three names and the number of the others, for a message."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
