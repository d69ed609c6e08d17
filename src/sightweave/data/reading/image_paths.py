"""Where the pictures of a data set lie: below a folder that they may not leave, or inside other files."""

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


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes of a picture inside an uncompressed file, such as a shard of a tar archive."""

    path: Path
    offset: int
    size: int
    key: str

    def __call__(self) -> bytes:
        """Reads them.

        Raises:
            MediaError: the file is gone or shorter than it was.
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
    """The bytes of a picture that a row brought with it."""

    data: bytes
    key: str


class Folder:
    """Finds pictures below a folder; where a path does not lead to one, by the file's name alone.

    Args:
        root: The folder, which no path may leave, be it by a link.
        search: Whether to look for the name in all folders below where the path leads nowhere.
    """

    def __init__(self, root: Path, *, search: bool) -> None:
        self.root, self.search = root.resolve(), search
        self._index: dict[str, list[str]] | None = None

    def find(self, value: Any) -> str:
        """The picture's path from the root; where there is none, the one that was asked for.

        Raises:
            RowError: as `path_in`, or several pictures of that name.
        """
        relative = path_in(self.root, value)
        if not self.search or (self.root / relative).exists():
            return relative
        folder, _, name = relative.rpartition("/")
        found = self._paths().get(name, [])
        if len(found) > 1:  # train2014 and val2014 hold different names, other sets may not
            wanted = set(folder.split("/")) - {""}
            found = [p for p in found if wanted & set(p.split("/")[:-1])] or found
        if len(found) > 1:
            raise RowError(
                "image_ambiguous",
                "image",
                value,
                f"{len(found)} images have this name: {', '.join(found[:3])}.",
            )
        return found[0] if found else relative

    def _paths(self) -> dict[str, list[str]]:
        if self._index is None:
            self._index = {}
            for folder, folders, names in os.walk(self.root):
                folders.sort()
                below = Path(folder).relative_to(self.root).as_posix()
                for name in names:
                    path = name if below == "." else f"{below}/{name}"
                    self._index.setdefault(name, []).append(path)
        return self._index


def path_in(root: Path, value: Any) -> str:
    """The relative path of a picture under a folder, as it is spelt there.

    An absolute path and a ``file:`` URL are fine where they lead inside.

    Raises:
        RowError: the path names a home or another URL, or leaves the folder, be it by a link.
    """
    if not isinstance(value, str) or not value.strip():
        raise RowError("wrong_type", "image", value, f"must be text (got {shown(value)}).")
    name = value

    def refused(problem: str) -> RowError:
        return RowError(
            "image_path",
            "image",
            name,
            f"{shown(name)} {problem}; image paths are relative to {str(root)!r} and must stay inside it.",
        )

    if "\0" in name:
        raise refused("contains a NUL character")
    try:
        name.encode("utf-8")  # what a disk gives for a name that is no UTF-8 cannot be written down
    except UnicodeEncodeError:
        raise refused("contains an invalid character; rename the file in UTF-8") from None
    place = _local(name)
    if place is None:
        raise refused("is a URL, and URLs are not fetched")
    if place.startswith("~"):
        raise refused("refers to a home folder")
    windows = PureWindowsPath(place)
    if ".." in windows.parts:  # splits at both kinds of slash
        raise refused("leaves the folder")
    if place.startswith(("/", "\\")) or windows.drive:
        below = _below(root, place)
        if below is None:
            raise refused("is absolute and outside the folder")
        place = below
    path = _existing(root, place)
    try:
        is_inside = bounded.is_inside(root, path)
        is_loop = _is_loop(path)  # from Python 3.13 on, resolving does not say so
    except (OSError, RuntimeError):
        is_inside, is_loop = False, True
    if is_loop:
        raise refused("is a broken symbolic link")
    if not is_inside:
        raise refused("is a symbolic link that leaves the folder")
    return path.relative_to(root).as_posix()


def _local(name: str) -> str | None:
    """A path, or the one that a ``file:`` URL of this machine names; None for any other URL."""
    lower = name.lower()
    if lower.startswith("file:"):
        host, slash, path = name[5:].removeprefix("//").partition("/")
        place = urllib.parse.unquote(slash + path)
        return place if slash and host.lower() in ("", "localhost") and "\0" not in place else None
    return None if "://" in name or lower.startswith(("data:", "http:", "https:")) else name


def _below(root: Path, name: str) -> str | None:
    """An absolute path as one from `root`; None where it leads elsewhere, be it by a link."""
    path = Path(name)
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    try:
        found = path.resolve()  # the folder may be called otherwise, through a link above it
    except (OSError, RuntimeError, ValueError):
        return None
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else None


def _existing(root: Path, name: str) -> Path:
    """The path as written, or as another system spells the same letters (composed or decomposed)."""
    for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
        try:
            if (root / form).exists():
                return root / form
        except (OSError, RuntimeError):  # too long, or a loop of links: opening it will say so
            break
    return root / name


def _is_loop(path: Path) -> bool:
    """Whether a link leads back to itself."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def given(root: Path | None, value: Any) -> Medium:
    """A picture from a Python object."""
    if isinstance(value, Medium):
        return value
    if isinstance(value, str | Path):
        value = _of_text(value)
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
    raise RowError(
        "wrong_type",
        "image",
        value,
        f"must be a path, a data URL, base64, bytes, an array or a Pillow image (got {shown(value)}).",
    )


def _of_text(value: str | Path) -> str | Path | bytes:
    """The bytes that a text holds; a path as it was given."""
    try:
        source = picture_of(value)
    except MediaError as error:
        raise RowError(error.code, "image", str(value)[:_SHOWN], str(error)) from None
    return source if isinstance(source, bytes) else value


_SHOWN = 200
"""Letters of a refused text that are written down."""
