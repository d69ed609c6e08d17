"""Pictures in a folder, and whether anything is written about them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sightweave.data.datasets._files import split_of

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_SILENT = (
    *SUFFIXES,
    *(".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".mp4", ".mov"),
    *("readme", "readme.md", "license", "license.md", "thumbs.db", "desktop.ini"),
)
"""Ends of names of files that say nothing about pictures."""


def pictures_below(root: Path) -> Iterator[str]:
    """Paths of all pictures from `root`, folder by folder, by name; hidden ones and links to folders are left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield name if below == "." else f"{below}/{name}"


def is_bare(root: Path) -> bool:
    """Whether a folder holds pictures, and no file that could say something about them."""
    found = False
    for _, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if not all(name.startswith(".") or name.lower().endswith(_SILENT) for name in names):
            return False
        found = found or any(name.lower().endswith(SUFFIXES) for name in names)
    return found


def class_of(file: str) -> str:
    """The class of ``train/cat/1.jpg`` or ``cat/1.jpg``; empty where the path has none."""
    folders = file.split("/")[:-1]
    if folders and split_of(Path(folders[0])):
        folders = folders[1:]
    return folders[-1] if folders and not split_of(Path(folders[-1])) else ""


def classes_below(root: Path) -> set[str]:
    """All classes; empty where a picture lies in none."""
    found: set[str] = set()
    for file in pictures_below(root):
        name = class_of(file)
        if not name:
            return set()
        found.add(name)
    return found
