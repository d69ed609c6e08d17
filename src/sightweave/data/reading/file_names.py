"""Which files a data set consists of, and what their names say."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from sightweave.data.reading.splits import SPLIT_NAMES

_SPLIT = re.compile(
    # test-dev, the part of VQA's test that may be tried out, is no dev set.
    r"(?<![a-z])(train|trainval|val|valid|validation|dev|minival|test[-_]?dev|test)(?![a-z])"
)
_NAMES = SPLIT_NAMES | {"trainval": "train"}
_DEPTH = 3
"""Folders below the one that was named in which annotation files are looked for."""


def split_of(path: Path) -> str:
    """``train``, ``validation`` or ``test`` as a file's name says; empty where it says none."""
    found = _SPLIT.findall(path.name.lower().replace("minival", "val"))
    return _NAMES.get(found[-1], "test") if found else ""


def files(path: Path, *suffixes: str) -> list[Path]:
    """The path itself, or all files below a folder whose name ends in one of `suffixes` (lower case), by name.

    Folders with very many files, such as those of pictures, cost one look at each name.
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
    """Whether a name is worth a look: not that of a picture, but that of ``CLEVR_v1.0``."""
    suffix = os.path.splitext(name)[1]
    return not suffix or suffix[1:].isdigit()


def json_files(path: Path) -> list[Path]:
    """JSON files, gzip included."""
    return files(path, ".json", ".json.gz")


def among(names: Sequence[str]) -> str:
    """A few names and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
