"""Files that are written completely or not at all, and output folders that only one command at a time writes to.

An output folder holds a file ``.sightweave``. It marks the folder as ours, so that a later command may replace the output of
an earlier one, and it is locked while a command writes. The operating system releases the lock when that process ends, for
any reason.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import json
import os
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from sightweave.core.errors import FolderError

MARK = ".sightweave"
"""The file in an output folder that is locked while a command writes to it."""
_LEFTOVER_SECONDS = 3600
_MOST_MARKER_BYTES = 1 << 26
_SHOWN = 10


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file atomically: after a crash it contains either the new content or the old, completely.

    Raises:
        OSError: the disk is full, or the file cannot be written; existing content is unharmed.
    """
    with replacing(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary stream whose content replaces a file when the block ends without an error.

    A pipe or a device, such as ``/dev/stdout``, is written to directly.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return

    remove_leftovers(path)
    temporary = temporary_beside(path)
    try:
        # open() sets permissions by the umask, but tempfile would let only the owner read the file.
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """A new name in the same folder, for a file that is renamed to `path` once it is complete."""
    return path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:12]}")


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """An empty folder next to `path`, to be filled and put in its place by `swap`; else it is removed."""
    remove_leftovers(path)
    temporary = temporary_beside(path)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def swap(temporary: Path, path: Path) -> None:
    """Puts a complete folder in place of another, if there is one; `whole` finds one of the two at any moment."""
    # A folder cannot be renamed over another, so the old one is set aside until the new one is in place.
    old = aside(path)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)

    temporary.rename(path)
    force_to_disk(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def whole(path: Path) -> Path:
    """Path of a folder that `swap` put in place: `path`, or the old one if that process died between its two renames."""
    old = aside(path)
    return old if not path.exists() and old.is_dir() else path


def aside(path: Path) -> Path:
    """Path at which `swap` keeps the folder that it replaces."""
    path = Path(os.path.abspath(path))  # "." has no name
    return path.with_name(f".{path.name}.previous")


def force_to_disk(path: Path) -> None:
    """Flushes a file or a folder to disk."""
    if path.is_dir() and os.name != "posix":  # elsewhere folders cannot be opened
        return

    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def follow_umask(path: Path) -> None:
    """Gives a file the permissions of an ordinary new one; libraries that write through tempfile let only the owner read."""
    ordinary = temporary_beside(path)
    with ordinary.open("xb") as stream:
        mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    ordinary.unlink()
    path.chmod(mode)


def remove_leftovers(path: Path) -> None:
    """Removes temporary files that killed writers of `path` left over an hour ago; newer ones may still be in use."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.tmp-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime <= _LEFTOVER_SECONDS:
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()


def is_ours(folder: Path, markers: Mapping[str, str]) -> bool:
    """Whether Sightweave made a folder.

    Args:
        folder: Any folder.
        markers: JSON files that also mark a folder as ours, such as a copy without `MARK`, each with a key that it has.
    """
    return (folder / MARK).is_file() or any(has_key(folder / name, key) for name, key in markers.items())


def has_key(file: Path, key: str) -> bool:
    """Whether a file holds a JSON object with a key."""
    try:
        if not file.is_file() or file.stat().st_size > _MOST_MARKER_BYTES:
            return False
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and key in value


def refuse_foreign(folder: Path, writes: Sequence[str], markers: Mapping[str, str]) -> None:
    """Raises if a command would overwrite files in a folder that Sightweave did not write.

    Args:
        folder: Output folder.
        writes: Names and patterns of the files that the command writes.
        markers: As for `is_ours`.

    Raises:
        FolderError: the folder holds such files and is not ours, or it is not a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"{folder}: is a file; a folder is needed.")
    if is_ours(folder, markers):
        return

    found = present(folder, writes)
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise FolderError(
            f"{folder}: holds {', '.join(found[:_SHOWN])}{more}, which Sightweave did not write and would "
            "overwrite. Choose another folder, or move these files."
        )


def refuse_other(path: Path, *, is_ours: Callable[[Path], bool]) -> None:
    """Raises if a file that none of our commands wrote would be overwritten; pipes and devices are accepted.

    Raises:
        FolderError: `path` is such a file, or a folder.
    """
    if path.is_dir():
        raise FolderError(f"{path}: is a folder; a file is needed.")
    if path.is_file() and path.stat().st_size and not is_ours(path):
        raise FolderError(
            f"{path}: this file was not written by Sightweave and would be overwritten. Choose another name, or move it."
        )


def present(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Names in a folder that match any of the patterns, in order, including dangling links."""
    names = os.listdir(folder) if folder.is_dir() else []
    found = set[str]()
    for pattern in patterns:
        found.update(name for name in names if fnmatch.fnmatchcase(name, pattern))
    return sorted(found)


@contextlib.contextmanager
def claimed(
    folder: Path, *, writes: Sequence[str], markers: Mapping[str, str], purpose: str
) -> Iterator[None]:
    """Creates a folder if needed and keeps every other command out of it until the block ends.

    After an error, folders that were created and are still empty are removed.

    Args:
        folder: Output folder.
        writes: Names and patterns of the files that the command writes.
        markers: As for `is_ours`.
        purpose: What the command does, shown to a command that is kept out: ``training``.

    Raises:
        FolderError: another process writes there, or the folder holds files of these names that are not ours.
        OSError: the folder cannot be created or written to.
    """
    refuse_foreign(folder, writes, markers)

    with making(folder):
        is_new = not (folder / MARK).exists()
        mark = _locked(folder, purpose)
        try:
            yield
        except BaseException:
            if is_new and not present(folder, writes):
                with contextlib.suppress(OSError):
                    (folder / MARK).unlink()
            raise
        finally:
            os.close(mark)  # this releases the lock


@contextlib.contextmanager
def making(folder: Path) -> Iterator[None]:
    """Creates a folder with its parents; after an error, those that were created and are still empty are removed."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)

    try:
        yield
    except BaseException:
        for one in missing:
            with contextlib.suppress(OSError):  # it is not empty
                one.rmdir()
        raise


def check_free(folder: Path) -> None:
    """Raises `FolderError` if another process is writing to a folder."""
    if (folder / MARK).is_file():
        os.close(_locked(folder, ""))


def _locked(folder: Path, purpose: str) -> int:
    """An open and locked `MARK` that names its holder."""
    path = folder / MARK
    while True:
        mark = _open(path)
        try:
            if not _lock(mark):
                raise FolderError(
                    f"{folder}: in use by {_holder(mark)}. Wait until it ends, or choose another folder."
                )
            # The previous holder may have removed the file after we opened it and before we locked it.
            if not _is_same(mark, path):
                os.close(mark)
                continue
        except BaseException:
            os.close(mark)
            raise

        if purpose:
            _sign(mark, purpose)
        return mark


def _open(path: Path) -> int:
    # A link would redirect the writing, and a pipe would wait for a reader.
    flags = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        try:
            mark = os.open(path, os.O_RDWR | flags, 0o666)
        except PermissionError:  # another user's file in a folder that both may write to
            mark = os.open(path, os.O_RDONLY | flags & ~os.O_CREAT)
    except OSError as error:
        if path.is_symlink():
            raise FolderError(f"{path}: is a symbolic link, which is not followed; remove it.") from None
        raise error

    if not stat.S_ISREG(os.fstat(mark).st_mode):
        os.close(mark)
        raise FolderError(f"{path}: is not a regular file; remove it.")
    return mark


def _is_same(mark: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(mark), path.stat())
    except FileNotFoundError:
        return False


def _sign(mark: int, purpose: str) -> None:
    import socket  # here, since `sightweave --help` needs no sockets

    who = {"format_version": 1, "pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose}
    with contextlib.suppress(OSError):  # opened read-only; the lock is held anyway
        os.ftruncate(mark, 0)
        os.lseek(mark, 0, os.SEEK_SET)
        os.write(mark, json.dumps(who).encode() + b"\n")


def _holder(mark: int) -> str:
    try:
        os.lseek(mark, 0, os.SEEK_SET)
        who = json.loads(os.read(mark, 4096))
        return f"process {int(who['pid'])} on {str(who['host'])!r} ({str(who['purpose'])!r})"
    except (OSError, ValueError, KeyError, TypeError):  # the holder has not written its name yet
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(mark: int) -> bool:
        try:
            # Far beyond the text, which others must be able to read while this byte is locked.
            os.lseek(mark, 1 << 30, os.SEEK_SET)
            msvcrt.locking(mark, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(mark: int) -> bool:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # Some network file systems have no locks. Working without a lock is better than not working at all.
            return True
        return True
