"""Files that somebody else may have written, read within bounds: ordinary files only, so large, and so deep.

A named pipe in the place of a file would be waited for without end, and a device would be read without end; a value nested
thousands deep ends whatever walks it in a ``RecursionError``. What a reader accepts is decided here once.
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
"""Objects and lists inside one another; what this package writes has about ten."""
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnreadableError(SightweaveError):
    """A file that is none, too large, or not what its name says; the message has the reason, the caller adds the path."""


def opened(file: Path) -> BinaryIO:
    """An ordinary file, opened for reading; anything else is refused without waiting for it.

    Raises:
        OSError: not there, or not allowed.
        UnreadableError: a pipe, a device, a socket or a folder.
    """
    # Without O_NONBLOCK, opening a pipe waits until somebody writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if file.is_dir():  # which Windows refuses to open, with another error
        raise UnreadableError("a folder; a file is needed.")
    handle = os.open(file, flags)
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        found = next((name for is_one, name in _KINDS if is_one(mode)), "not a regular file")
        raise UnreadableError(f"{found}; a regular file is needed.")
    return os.fdopen(handle, "rb")


def check_no_links(folder: Path, *names: str) -> None:
    """Raises `UnreadableError` where a file that is about to be written is a link: it would lead the writing elsewhere.

    A downloaded folder may hold links to anything, and in a hub's cache every file is a link to what others share.
    """
    for name in names:
        if (folder / name).is_symlink():
            raise UnreadableError(
                f"{folder / name}: is a symbolic link, and writing would change its target. Remove it, or choose another "
                "folder (--out)."
            )


def is_inside(root: Path, path: Path) -> bool:
    """Whether a path, links followed, stays in a folder; or leads from a snapshot of a hub's cache to its own ``blobs``.

    There, ``NAME/snapshots/REVISION`` holds nothing but links into ``NAME/blobs``.

    Raises:
        OSError, RuntimeError: a loop of links.
    """
    root, target = root.resolve(), path.resolve()
    return target.is_relative_to(root) or any(
        above.name == "snapshots" and target.is_relative_to(above.parent / "blobs") for above in root.parents
    )


def read(file: Path, *, most: int) -> bytes:
    """All of an ordinary file.

    Args:
        file: Its path.
        most: Bytes at most.

    Raises:
        OSError: not there, or not allowed.
        UnreadableError: no ordinary file, or a larger one.
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
    """Raises `UnreadableError` where dicts and lists stand inside one another more than `most` levels deep."""
    level: list[Any] = [value]
    for _ in range(most + 1):
        level = [inner for outer in level for inner in _holders_in(outer)]
        if not level:
            return
    raise UnreadableError(f"not valid JSON: nested deeper than {most} levels.")


def _holders_in(value: Any) -> Iterator[Any]:
    """Dicts and lists directly inside a value."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (one for one in inside if isinstance(one, dict | list))
