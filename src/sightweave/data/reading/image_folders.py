"""Pictures in a folder, and whether anything is written about them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sightweave.data.reading.file_names import split_of
from sightweave.data.reading.row_files import RowError
from sightweave.data.reading.splits import SPLIT_NAMES

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif")
OTHER_FORMATS = (
    *(".bmp", ".dib", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".ico", ".icns"),
    *(".cur", ".tga", ".psd", ".xcf", ".pcx", ".ppm", ".pgm", ".pbm", ".pnm", ".dds", ".eps"),
    *(".cr2", ".nef", ".arw", ".dng"),
)
"""Ends of names of pictures that are not read."""
_SILENT = (*SUFFIXES, *OTHER_FORMATS, ".mp4", ".mov", ".avi", ".mkv", ".webm", ".wav", ".mp3", ".ogg")
"""Ends of names of files that say nothing about pictures."""
_SILENT_STEMS = {
    *("readme", "license", "licence", "copying", "copyright", "notice", "authors", "credits", "attribution"),
    *("changelog", "thumbs", "desktop", "picasa"),
}
"""Names, up to their first dot, of files that say nothing about single pictures."""
_HOLDS_DATA = (
    *(
        ".csv",
        ".tsv",
        ".txt",
        ".json",
        ".jsonl",
        ".ndjson",
        ".xml",
        ".yaml",
        ".yml",
        ".caption",
        ".html",
        ".pdf",
    ),
    *(".parquet", ".pq", ".arrow", ".feather", ".tar", ".tgz", ".zip", ".gz", ".bz2", ".xz", ".zst", ".7z"),
    *(
        ".npy",
        ".npz",
        ".pkl",
        ".pt",
        ".pth",
        ".h5",
        ".hdf5",
        ".mat",
        ".db",
        ".sqlite",
        ".xlsx",
        ".xls",
        ".ods",
    ),
    *(".safetensors", ".bin", ".tfrecord", ".rec", ".lmdb", ".mdb"),
)
"""Ends of names of files that may say something, or hold a dataset of another format."""
_SNIFFED = 512
"""Bytes of a file of an unknown kind that tell a text from anything else."""


def pictures_below(root: Path) -> Iterator[str]:
    """Paths of all pictures from `root`, folder by folder, by name; hidden ones and links to folders are left out."""
    return (file for file in all_below(root) if file.lower().endswith(SUFFIXES))


def all_below(root: Path) -> Iterator[str]:
    """The same with pictures of formats that are not read."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            if name.lower().endswith((*SUFFIXES, *OTHER_FORMATS)) and not name.startswith("."):
                yield name if below == "." else f"{below}/{name}"


def check_format(file: str) -> None:
    """Refuses a picture whose name says a format that is not read.

    Raises:
        RowError: it does.
    """
    suffix = Path(file).suffix.lower()
    if suffix in OTHER_FORMATS:
        message = f"{file}: {suffix} files are not supported. Convert it to JPEG, PNG, WEBP or GIF."
        raise RowError("image_unsupported_format", "image", file, message)


def is_bare(root: Path) -> bool:
    """Whether a folder holds pictures, and no file that could say something about them."""
    found = False
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(_says_something(Path(folder, name)) for name in names):
            return False
        found = found or any(name.lower().endswith((*SUFFIXES, *OTHER_FORMATS)) for name in names)
    return found


def _says_something(file: Path) -> bool:
    """Whether a file may be about pictures: one that holds data, or a text of an unknown kind."""
    name = file.name.lower()
    if name.startswith(".") or name.endswith(_SILENT) or name.partition(".")[0] in _SILENT_STEMS:
        return False
    if name.endswith(_HOLDS_DATA):
        return True
    try:
        if not file.is_file():  # opening a pipe would wait for its other end
            return False
        with file.open("rb") as opened:
            head = opened.read(_SNIFFED)
        return bool(head) and b"\0" not in head and bool(head.decode("utf-8", "strict"))
    except UnicodeDecodeError as error:
        return error.start > _SNIFFED - 4  # a character that the end of what was read cuts
    except OSError:
        return False


def split_name_of(folder: str) -> str:
    """The split that the name of a folder says; empty where it says none."""
    return SPLIT_NAMES.get(folder.lower(), "") or split_of(Path(folder))


def split_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder that say a split."""
    try:
        with os.scandir(folder) as inside:
            return sorted(one.name for one in inside if split_name_of(one.name) and one.is_dir())
    except OSError:
        return []


def has_folders(folder: Path) -> bool:
    """Whether there are folders in a folder."""
    with os.scandir(folder) as inside:
        return any(one.is_dir() and not one.name.startswith(".") for one in inside)


def not_a_split(folder: str, splits: Sequence[str]) -> RowError:
    """What is wrong with a folder that lies beside folders of splits, and whose name says none."""
    message = (
        f"the folder {folder!r} is not a known split (train, validation or test), unlike its sibling folders "
        f"({', '.join(splits)}); rename or move it."
    )
    return RowError("bad_split", "split", folder, message)


def class_of(file: str) -> str:
    """The class of ``train/cat/1.jpg`` or ``cat/1.jpg``; empty where the path has none."""
    folders = file.split("/")[:-1]
    if folders and split_name_of(folders[0]):
        folders = folders[1:]
    return folders[-1] if folders and not split_name_of(folders[-1]) else ""


def classes_below(root: Path) -> tuple[set[str], int]:
    """All classes, and how many pictures lie in none; no classes where that is half of the pictures, or more."""
    found: set[str] = set()
    inside = outside = 0
    for file in pictures_below(root):
        name = class_of(file)
        if name:
            found.add(name)
            inside += 1
        else:
            outside += 1
    return (found if len(found) > 1 and inside > outside else set()), outside
