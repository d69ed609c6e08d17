"""Bounded reading of files that somebody else may have written: regular files only, of limited size and depth.

Reading a named pipe in place of a file would wait for ever, and reading a device would never end; a value nested thousands
of levels deep makes recursive code fail with ``RecursionError``. All readers share these limits.
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
"""Maximum nesting of objects and lists; files of this package have about ten levels."""
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnreadableError(SightweaveError):
    """A file is not a regular file, too large, or not what its name says. Its message is the reason, without the path."""


def opened(file: Path) -> BinaryIO:
    """A regular file, opened for reading; anything else is refused without waiting for it.

    Raises:
        OSError: the file does not exist or cannot be read.
        UnreadableError: a pipe, a device, a socket or a folder.
    """
    # Without O_NONBLOCK, opening a pipe waits until somebody writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if file.is_dir():  # Windows cannot open one, and raises another error
        raise UnreadableError("a folder; a file is needed.")

    handle = os.open(file, flags)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        found = next((name for is_one, name in _KINDS if is_one(mode)), "not a regular file")
        raise UnreadableError(f"{found}; a regular file is needed.")

    return os.fdopen(handle, "rb")


def check_no_links(folder: Path, *names: str) -> None:
    """Raises `UnreadableError` if a file that is about to be written is a link, which would redirect the writing.

    A downloaded folder may hold links to anything, and in a Hub's cache every file is a link to shared data.
    """
    for name in names:
        if (folder / name).is_symlink():
            raise UnreadableError(
                f"{folder / name}: is a symbolic link, and writing would change its target. Remove it, or choose another "
                "folder (--out)."
            )


def is_inside(root: Path, path: Path) -> bool:
    """Whether a path stays in a folder when links are followed, or leads from a Hub cache's snapshot to its own ``blobs``.

    In a Hub's cache, ``NAME/snapshots/REVISION`` holds only links to ``NAME/blobs``.

    Raises:
        OSError, RuntimeError: a loop of links.
    """
    root, target = root.resolve(), path.resolve()
    if target.is_relative_to(root):
        return True
    snapshots = [folder for folder in root.parents if folder.name == "snapshots"]
    return any(target.is_relative_to(folder.parent / "blobs") for folder in snapshots)


def read(file: Path, *, most: int) -> bytes:
    """The content of a regular file.

    Args:
        file: Its path.
        most: Maximum size in bytes.

    Raises:
        OSError: the file does not exist or cannot be read.
        UnreadableError: not a regular file, or a larger one.
    """
    with opened(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(most + 1) if size <= most else b""

    if size > most or len(data) > most:
        raise UnreadableError(f"{max(size, len(data))} bytes; the maximum is {most}.")
    return data


def parse(data: bytes | str) -> Any:
    """A JSON value of at most `MAX_DEPTH` levels.

    Raises:
        UnreadableError: not JSON, not UTF-8, or nested deeper.
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
    """The JSON value in a file.

    Raises:
        OSError, UnreadableError: as `read` and `parse`.
    """
    return parse(read(file, most=most))


def check_depth(value: Any, most: int = MAX_DEPTH) -> None:
    """Raises `UnreadableError` if dicts and lists are nested more than `most` levels deep."""
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
    """Dicts and lists directly inside a value."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (one for one in inside if isinstance(one, dict | list))
