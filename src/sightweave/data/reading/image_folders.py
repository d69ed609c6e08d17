"""Finds the images below a folder, their classes and splits, and other files that may hold annotations."""

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
"""Suffixes of images in formats that are not supported."""
_IMAGES = (*SUFFIXES, *OTHER_FORMATS)
_MEDIA = (*_IMAGES, ".mp4", ".mov", ".avi", ".mkv", ".webm", ".wav", ".mp3", ".ogg")
"""Suffixes of media files, which hold no annotations."""
_GENERAL_STEMS = {
    *("readme", "license", "licence", "copying", "copyright", "notice", "authors", "credits", "attribution"),
    *("changelog", "thumbs", "desktop", "picasa"),
}
"""Names (up to the first dot) of general files, which hold no annotations of individual images."""
_DATA = (
    *(".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".caption"),
    *(".html", ".pdf", ".parquet", ".pq", ".arrow", ".feather", ".tar", ".tgz", ".zip", ".gz", ".bz2"),
    *(".xz", ".zst", ".7z", ".npy", ".npz", ".pkl", ".pt", ".pth", ".h5", ".hdf5", ".mat", ".db"),
    *(".sqlite", ".xlsx", ".xls", ".ods", ".safetensors", ".bin", ".tfrecord", ".rec", ".lmdb", ".mdb"),
)
"""Suffixes of files that may hold annotations, or a dataset in another format."""
_SNIFFED = 512
"""Number of bytes at the start of a file with an unknown suffix that are read to check whether it is text."""


def pictures_below(root: Path) -> Iterator[str]:
    """Yields the sorted relative paths of all images below `root`, without hidden files and linked folders."""
    return (file for file in all_below(root) if file.lower().endswith(SUFFIXES))


def all_below(root: Path) -> Iterator[str]:
    """Yields paths as `pictures_below` does, including those of images in unsupported formats."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            if _is_image(name) and not name.startswith("."):
                yield name if below == "." else f"{below}/{name}"


def _is_image(name: str) -> bool:
    return name.lower().endswith(_IMAGES)


def check_format(file: str) -> None:
    """Checks by the file name's suffix that an image has a supported format.

    Raises:
        RowError: The format is not supported.
    """
    suffix = Path(file).suffix.lower()
    if suffix in OTHER_FORMATS:
        message = f"{file}: {suffix} files are not supported. Convert it to JPEG, PNG, WEBP or GIF."
        raise RowError("image_unsupported_format", "image", file, message)


def is_bare(root: Path) -> bool:
    """Whether a folder contains images but no file that may hold annotations."""
    has_images = False
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if _may_describe_images(Path(folder, name)):
                return False
            has_images = has_images or _is_image(name)
    return has_images


def _may_describe_images(file: Path) -> bool:
    """Whether a file may hold annotations: it has a data suffix, or is text with an unknown suffix."""
    name = file.name.lower()
    if name.startswith(".") or name.endswith(_MEDIA) or name.partition(".")[0] in _GENERAL_STEMS:
        return False
    if name.endswith(_DATA):
        return True

    try:
        if not file.is_file():  # opening a named pipe would block
            return False
        with file.open("rb") as opened:
            head = opened.read(_SNIFFED)
        return bool(head) and b"\0" not in head and bool(head.decode("utf-8", "strict"))
    except UnicodeDecodeError as error:
        return error.start > _SNIFFED - 4  # only the last character is cut off at the end of `head`
    except OSError:
        return False


def split_name_of(folder: str) -> str:
    """The split in the name of a folder; empty if the name contains none."""
    return SPLIT_NAMES.get(folder.lower(), "") or split_of(Path(folder))


def split_folders(folder: Path) -> list[str]:
    """Names of the subfolders of a folder that are named after a split."""
    try:
        with os.scandir(folder) as inside:
            return sorted(one.name for one in inside if split_name_of(one.name) and one.is_dir())
    except OSError:
        return []


def has_folders(folder: Path) -> bool:
    """Whether a folder has subfolders that are not hidden."""
    with os.scandir(folder) as inside:
        return any(one.is_dir() and not one.name.startswith(".") for one in inside)


def not_a_split(folder: str, splits: Sequence[str]) -> RowError:
    """The error for a folder whose siblings are named after splits, while its own name is not a split.

    Args:
        folder: Name of the folder.
        splits: Names of its sibling folders.
    """
    message = (
        f"the folder {folder!r} is not a known split (train, validation or test), unlike its sibling folders "
        f"({', '.join(splits)}); rename or move it."
    )
    return RowError("bad_split", "split", folder, message)


def class_of(file: str) -> str:
    """The class of an image, from a path such as ``train/cat/1.jpg`` or ``cat/1.jpg``; empty if the path has none."""
    folders = file.split("/")[:-1]
    if folders and split_name_of(folders[0]):
        folders = folders[1:]
    return folders[-1] if folders and not split_name_of(folders[-1]) else ""


def classes_below(root: Path) -> tuple[set[str], int]:
    """The set of classes of the images below a folder, and the number of images without a class.

    The set is empty if there is only one class, or if at most half of the images have a class.
    """
    classes: set[str] = set()
    num_inside = num_outside = 0
    for file in pictures_below(root):
        name = class_of(file)
        if name:
            classes.add(name)
            num_inside += 1
        else:
            num_outside += 1

    is_classified = len(classes) > 1 and num_inside > num_outside
    return (classes if is_classified else set()), num_outside
