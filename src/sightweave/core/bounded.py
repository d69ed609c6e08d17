"""Reads untrusted files safely: only regular files, and JSON of limited size and depth.

Opening a named pipe may block forever, reading a device may never end, and JSON that is nested thousands of levels deep
makes recursive code fail with ``RecursionError``. All code that reads downloaded files shares these limits.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sightweave.core.errors import SightweaveError

MAX_DEPTH = 64
"""Maximum nesting depth of objects and lists; files that Sightweave writes have about ten levels."""
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnreadableError(SightweaveError):
    """A file is not a regular file, is too large, or is not valid JSON. The message gives the reason without the path."""


def opened(file: Path) -> BinaryIO:
    """Opens a regular file for reading; anything else is refused without blocking.

    Raises:
        OSError: The file does not exist or cannot be read.
        UnreadableError: The path is a pipe, a device, a socket or a folder.
    """
    # Without O_NONBLOCK, opening a pipe blocks until another process writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if file.is_dir():  # opening a folder raises another error on Windows
        raise UnreadableError("a folder; a file is needed.")

    handle = os.open(file, flags)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        found = next((name for is_one, name in _KINDS if is_one(mode)), "not a regular file")
        raise UnreadableError(f"{found}; a regular file is needed.")

    return os.fdopen(handle, "rb")


def check_no_links(folder: Path, *names: str) -> None:
    """Raises `UnreadableError` if any of the files that are about to be written is a symbolic link.

    Writing would then change the link's target: a downloaded folder may hold links to any file, and in a Hub's cache every
    file is a link to shared data.
    """
    for name in names:
        if (folder / name).is_symlink():
            raise UnreadableError(
                f"{folder / name}: is a symbolic link, and writing would change its target. Remove it, or choose another "
                "folder (--out)."
            )


def is_inside(root: Path, path: Path) -> bool:
    """Whether a path is inside a folder after symbolic links are resolved.

    In a Hub's cache, whose ``NAME/snapshots/REVISION`` folders only hold links, targets in ``NAME/blobs`` count as inside.

    Raises:
        OSError, RuntimeError: Symbolic links form a loop.
    """
    root, target = root.resolve(), path.resolve()
    if target.is_relative_to(root):
        return True
    snapshots = [folder for folder in root.parents if folder.name == "snapshots"]
    return any(target.is_relative_to(folder.parent / "blobs") for folder in snapshots)


def read(file: Path, *, most: int) -> bytes:
    """Reads the content of a regular file.

    Args:
        file: Path of the file.
        most: Maximum size in bytes.

    Raises:
        OSError: The file does not exist or cannot be read.
        UnreadableError: The file is not a regular file, or is larger than `most`.
    """
    with opened(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(most + 1) if size <= most else b""

    if size > most or len(data) > most:
        raise UnreadableError(f"{max(size, len(data))} bytes; the maximum is {most}.")
    return data


def parse(data: bytes | str) -> Any:
    """Parses a JSON value of at most `MAX_DEPTH` levels.

    Raises:
        UnreadableError: The data is not valid JSON or not UTF-8, or the value is nested too deeply.
    """
    try:
        value = json.loads(data)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not valid JSON: not UTF-8 at byte {error.start}.") from None
    except ValueError as error:
        raise UnreadableError(f"not valid JSON: {error}.") from None
    except RecursionError:
        raise UnreadableError(f"not valid JSON: nested deeper than {MAX_DEPTH} levels.") from None

    check_depth(value)
    return value


def parsed(file: Path, *, most: int) -> Any:
    """Reads the JSON value in a file of at most `most` bytes.

    Raises:
        OSError, UnreadableError: As for `read` and `parse`.
    """
    return parse(read(file, most=most))


def check_depth(value: Any, most: int = MAX_DEPTH) -> None:
    """Raises `UnreadableError` if dicts and lists are nested more than `most` levels deep; does not recurse."""
    level: list[Any] = [value]
    for _ in range(most + 1):
        below: list[Any] = []
        for outer in level:
            below += _nested_in(outer)
        if not below:
            return
        level = below

    raise UnreadableError(f"not valid JSON: nested deeper than {most} levels.")


def _nested_in(value: Any) -> Iterator[Any]:
    """The dicts and lists directly inside a dict or list; none for other values."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (one for one in inside if isinstance(one, dict | list))
