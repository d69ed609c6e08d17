"""Resolves the image paths of a dataset to files below a folder, and describes images that are inside other files."""

from __future__ import annotations

import errno
import os
import unicodedata
import urllib.parse
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import PIL.Image

from sightweave.core import bounded
from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files
from sightweave.data.inputs.text_pictures import picture_of
from sightweave.data.reading.row_files import RowError, shown

_SHOWN = 200
"""Maximum number of characters of a rejected text that the error shows."""


@dataclass(frozen=True, slots=True)
class Slice:
    """An image inside an uncompressed file, such as a tar archive; calling it returns the image's bytes."""

    path: Path
    offset: int
    size: int
    key: str

    def __call__(self) -> bytes:
        """Reads the bytes of the image.

        Raises:
            MediaError: The file cannot be read, or has become shorter.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise MediaError("image_unreadable", f"{self.path}: cannot be read ({error.strerror}).") from None

        if len(data) != self.size:
            raise MediaError("image_truncated", f"{self.path}: truncated inside the image {self.key!r}.")
        return data


@dataclass(frozen=True, slots=True)
class Inside:
    """An image whose bytes are inside a row."""

    data: bytes
    key: str


class Folder:
    """Finds images below a folder by their path, or by their file name if the path does not exist.

    Args:
        root: The folder. Paths must not lead outside it, even through a symbolic link.
        search: Whether to search all folders below the root for the file name if a path does not exist.
    """

    def __init__(self, root: Path, *, search: bool) -> None:
        self.root, self.search = root.resolve(), search
        self._index: dict[str, list[str]] | None = None

    def find(self, value: Any) -> str:
        """The path of an image relative to the root; the given path if there is no such image.

        Raises:
            RowError: As for `path_in`, or several images have this file name.
        """
        relative = path_in(self.root, value)
        if not self.search or (self.root / relative).exists():
            return relative

        folder, _, name = relative.rpartition("/")
        found = self._paths_by_name().get(name, [])
        if len(found) > 1:
            # File names need not be unique: prefer paths that share a folder's name with the given path.
            wanted = set(folder.split("/")) - {""}
            nearer = [path for path in found if not wanted.isdisjoint(path.split("/")[:-1])]
            found = nearer or found
        if len(found) > 1:
            message = f"{len(found)} images have this name: {', '.join(found[:3])}; write the path relative to the folder."
            raise RowError("image_ambiguous", "image", value, message)

        return found[0] if found else relative

    def _paths_by_name(self) -> dict[str, list[str]]:
        """Paths of all files below the root by file name; computed only once."""
        if self._index is not None:
            return self._index

        index: dict[str, list[str]] = {}
        for folder, folders, names in os.walk(self.root):
            folders.sort()
            below = Path(folder).relative_to(self.root).as_posix()
            for name in names:
                path = name if below == "." else f"{below}/{name}"
                index.setdefault(name, []).append(path)

        self._index = index
        return index


def path_in(root: Path, value: Any) -> str:
    """Converts an image's path to one relative to a folder, spelled as on disk.

    Absolute paths and ``file:`` URLs are accepted if they lead into the folder.

    Raises:
        RowError: The value is not a text, is a path with ``~`` or another URL, or leads outside the folder, possibly
            through a symbolic link.
    """
    if not isinstance(value, str) or not value.strip():
        raise RowError("wrong_type", "image", value, f"must be text (got {shown(value)}).")
    name = value

    def refused(problem: str) -> RowError:
        message = (
            f"{shown(name)} {problem}; image paths are relative to {str(root)!r} and must stay inside it."
        )
        return RowError("image_path", "image", name, message)

    # Checks of the text.
    if "\0" in name:
        raise refused("contains a NUL character")
    try:
        name.encode("utf-8")  # a file name that is not UTF-8 cannot be stored with the rows
    except UnicodeEncodeError:
        raise refused("contains an invalid character; rename the file in UTF-8") from None
    place = _local_path(name)
    if place is None:
        raise refused("is a URL, and URLs are not fetched")
    if place.startswith("~"):
        raise refused("refers to a home folder")
    windows = PureWindowsPath(place)  # splits at both kinds of slash
    if ".." in windows.parts:
        raise refused("leaves the folder")

    if place.startswith(("/", "\\")) or windows.drive:
        below = _below(root, place)
        if below is None:
            raise refused("is absolute and outside the folder")
        place = below

    # Checks on disk.
    path = _existing(root, place)
    try:
        is_inside = bounded.is_inside(root, path)
        is_loop = _is_loop(path)  # from Python 3.13 on, resolving a loop does not raise an error
    except (OSError, RuntimeError):
        is_inside, is_loop = False, True
    if is_loop:
        raise refused("is a broken symbolic link")
    if not is_inside:
        raise refused("is a symbolic link that leaves the folder")
    return path.relative_to(root).as_posix()


def _local_path(name: str) -> str | None:
    """A path unchanged, or the path in a local ``file:`` URL; None for any other URL."""
    lower = name.lower()
    if not lower.startswith("file:"):
        is_url = "://" in name or lower.startswith(("data:", "http:", "https:"))
        return None if is_url else name

    host, slash, path = name[5:].removeprefix("//").partition("/")
    place = urllib.parse.unquote(slash + path)
    is_local = bool(slash) and host.lower() in ("", "localhost") and "\0" not in place
    return place if is_local else None


def _below(root: Path, name: str) -> str | None:
    """Makes an absolute path relative to `root`; None if it leads outside, possibly through a symbolic link."""
    path = Path(name)
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()

    try:
        found = path.resolve()  # the path may reach the folder through a symbolic link above it
    except (OSError, RuntimeError, ValueError):
        return None
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else None


def _existing(root: Path, name: str) -> Path:
    """The path below `root`, in the Unicode form (as given, NFC or NFD) that exists; as given if none exists."""
    for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
        try:
            if (root / form).exists():
                return root / form
        except (OSError, RuntimeError):  # too long, or a loop of links; opening the file will report this
            break
    return root / name


def _is_loop(path: Path) -> bool:
    """Whether a path is a symbolic link that leads back to itself."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def given(root: Path | None, value: Any) -> Medium:
    """Converts a Python object to a `Medium`.

    Args:
        root: Folder that paths given as text are relative to and may not leave; None leaves such paths unchanged.
        value: A `Medium`, a path, a data URL, base64, bytes, an array or a Pillow image.

    Raises:
        RowError: The value has another type, is a path that `path_in` rejects, or is an image that cannot be read.
    """
    if isinstance(value, Medium):
        return value

    if isinstance(value, str | Path):
        value = _bytes_or_path(value)
    if isinstance(value, str) and root is not None:
        relative = path_in(root, value)
        return Medium(source=root / relative, key=relative)
    if isinstance(value, str | Path):
        path = Path(str(value)).expanduser()
        return Medium(source=path, key=path.as_posix())

    if isinstance(value, bytes | bytearray | memoryview | np.ndarray | PIL.Image.Image):
        source = bytes(value) if isinstance(value, bytearray | memoryview) else value
        try:
            return Medium(source=source, key=image_files.digest(Medium(source=source, key="image"))[:32])
        except MediaError as error:
            raise RowError(error.code, "image", value, str(error)) from None

    message = f"must be a path, a data URL, base64, bytes, an array or a Pillow image (got {shown(value)})."
    raise RowError("wrong_type", "image", value, message)


def _bytes_or_path(value: str | Path) -> str | Path | bytes:
    """The bytes in a data URL or base64 text; a path is returned unchanged."""
    try:
        source = picture_of(value)
    except MediaError as error:
        raise RowError(error.code, "image", str(value)[:_SHOWN], str(error)) from None
    return source if isinstance(source, bytes) else value
