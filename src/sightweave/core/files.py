"""Atomic writing of files and folders, and output folders that only one command at a time writes to.

An output folder holds a file ``.sightweave``. It marks the folder as written by Sightweave, so that a later command may
replace its content, and it is locked while a command writes. The operating system releases the lock when the process ends
for any reason.
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
_PAUSES = (0.0, 0.02, 0.1)
"""Seconds to wait before each attempt to lock a folder."""
_MOST_MARKER_BYTES = 1 << 26
_SHOWN = 10


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file atomically, so that after a crash it contains either all of the old content or all of the new.

    Raises:
        OSError: The disk is full, or the file cannot be written; existing content is unchanged.
    """
    with replacing(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A context with a binary stream whose content replaces the file at `path` when the block ends without an error.

    A pipe or a device, such as ``/dev/stdout``, is written to directly.

    Raises:
        OSError: The disk is full, or the file cannot be written; existing content is unchanged.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return

    remove_leftovers(path)
    temporary = temporary_beside(path)
    try:
        # open() sets permissions by the umask; tempfile would let only the owner read the file.
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """An unused path in the same folder, for a file that is renamed to `path` once it is complete."""
    return path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:12]}")


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A context with a new empty folder next to `path`; it is removed at the end unless `swap` has moved it into place."""
    remove_leftovers(path)
    temporary = temporary_beside(path)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def swap(temporary: Path, path: Path) -> None:
    """Moves a finished folder to `path`, replacing any folder there; `whole` finds one of the two at any moment."""
    # A folder cannot be renamed over another, so the old one is first renamed, and deleted once the new one is in place.
    old = aside(path)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)

    temporary.rename(path)
    force_to_disk(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def whole(path: Path) -> Path:
    """The folder that `swap` moved to `path`, or the previous one if the process died between the two renames of `swap`."""
    old = aside(path)
    return old if not path.exists() and old.is_dir() else path


def aside(path: Path) -> Path:
    """The path at which `swap` keeps the previous folder until the new one is in place."""
    path = Path(os.path.abspath(path))  # "." has no name
    return path.with_name(f".{path.name}.previous")


def force_to_disk(path: Path) -> None:
    """Flushes a file or a folder to disk (fsync)."""
    if path.is_dir() and os.name != "posix":  # other systems cannot open folders
        return

    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def follow_umask(path: Path) -> None:
    """Gives a file the default permissions of a new file; libraries that use tempfile make files private to their owner."""
    ordinary = temporary_beside(path)
    with ordinary.open("xb") as stream:
        mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    ordinary.unlink()
    path.chmod(mode)


def remove_leftovers(path: Path) -> None:
    """Removes temporary files of `path` that are over an hour old; newer ones may still be in use by another process."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.tmp-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime <= _LEFTOVER_SECONDS:
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()


def is_ours(folder: Path, markers: Mapping[str, str]) -> bool:
    """Whether Sightweave wrote a folder.

    Args:
        folder: Any folder.
        markers: JSON files that also show this, for example in a copy without `MARK`: a key that the file must have, by its
            path in the folder.
    """
    return (folder / MARK).is_file() or any(has_key(folder / name, key) for name, key in markers.items())


def has_key(file: Path, key: str) -> bool:
    """Whether a file holds a JSON object with the given key; False if the file is missing or cannot be read."""
    try:
        if not file.is_file() or file.stat().st_size > _MOST_MARKER_BYTES:
            return False
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and key in value


def refuse_foreign(folder: Path, writes: Sequence[str], markers: Mapping[str, str]) -> None:
    """Checks that a command would not overwrite files in a folder that Sightweave did not write.

    Args:
        folder: Output folder, which need not exist.
        writes: Names and patterns of the files that the command writes.
        markers: As for `is_ours`.

    Raises:
        FolderError: Sightweave did not write the folder and it already holds such files, or the path is a file.
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
    """Checks that an output file may be written: it is missing or empty, a pipe or device, or an earlier output of ours.

    Args:
        path: The output file.
        is_ours: Tells whether Sightweave wrote the existing file at a path.

    Raises:
        FolderError: `path` is a folder, or a file that Sightweave did not write.
    """
    if path.is_dir():
        raise FolderError(f"{path}: is a folder; a file is needed.")
    if path.is_file() and path.stat().st_size and not is_ours(path):
        raise FolderError(
            f"{path}: this file was not written by Sightweave and would be overwritten. Choose another name, or move it."
        )


def present(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Sorted names in a folder that match any of the patterns, including broken links; empty if there is no folder."""
    names = os.listdir(folder) if folder.is_dir() else []
    found = set[str]()
    for pattern in patterns:
        found.update(name for name in names if fnmatch.fnmatchcase(name, pattern))
    return sorted(found)


@contextlib.contextmanager
def claimed(
    folder: Path, *, writes: Sequence[str], markers: Mapping[str, str], purpose: str
) -> Iterator[None]:
    """A context that creates an output folder if needed and locks it against other commands.

    After an error, folders that were created and are still empty are removed.

    Args:
        folder: Output folder.
        writes: Names and patterns of the files that the command writes.
        markers: As for `is_ours`.
        purpose: What the command does, such as ``training``; shown to other commands that try to use the folder.

    Raises:
        FolderError: Another process is writing to the folder, or it has files with these names that Sightweave did not
            write.
        OSError: The folder cannot be created or written to.
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
    """A context that creates a folder and its parents; after an error, it removes those of them that are still empty."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)

    try:
        # What is written into a new folder is on disk only if the folder's own name is.
        for one in missing:
            force_to_disk(one.parent)
        yield
    except BaseException:
        for one in missing:
            with contextlib.suppress(OSError):  # the folder is not empty
                one.rmdir()
        raise


def check_free(folder: Path) -> None:
    """Raises `FolderError` if another process is writing to a folder."""
    if (folder / MARK).is_file():
        os.close(_locked(folder, ""))


def holder(folder: Path) -> str:
    """The purpose for which a process is writing to a folder, such as ``training``; empty if there is no such process.

    This creates and changes no files, and does not open a link or a pipe in place of `MARK`.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        mark = os.open(folder / MARK, flags)
    except OSError:
        return ""

    try:
        if not stat.S_ISREG(os.fstat(mark).st_mode) or _lock(mark, is_shared=True):
            return ""
        purpose = json.loads(os.read(mark, 4096))["purpose"]
        return str(purpose) or "unknown"
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ):  # the holder has not written its name yet
        return "unknown"
    finally:
        os.close(mark)


def _locked(folder: Path, purpose: str) -> int:
    """Opens and locks the `MARK` file of a folder, records this process in it, and returns its file descriptor."""
    path = folder / MARK
    while True:
        mark = _open(path)
        try:
            if not _lock_soon(mark):
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


def _lock_soon(mark: int) -> bool:
    """Locks a file for writing; tries again twice, because `holder` may have locked the file for a moment."""
    for pause in _PAUSES:
        time.sleep(pause)
        if _lock(mark):
            return True
    return False


def _open(path: Path) -> int:
    # These flags refuse links, which would redirect the writing, and do not wait for the other end of a pipe.
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
    """Whether an open file is still the file at `path`."""
    try:
        return os.path.samestat(os.fstat(mark), path.stat())
    except FileNotFoundError:
        return False


def _sign(mark: int, purpose: str) -> None:
    import socket  # imported here, since `sightweave --help` needs no sockets

    who = {"format_version": 1, "pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose}
    with contextlib.suppress(OSError):  # the file may be open read-only, which is enough for the lock
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

    def _lock(mark: int, *, is_shared: bool = False) -> bool:  # on Windows, every lock is exclusive
        try:
            # Lock a byte far beyond the text, because other processes must be able to read the text meanwhile.
            os.lseek(mark, 1 << 30, os.SEEK_SET)
            msvcrt.locking(mark, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(mark: int, *, is_shared: bool = False) -> bool:
        kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        try:
            fcntl.flock(mark, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # Some network file systems do not support locks; continue without one there.
            return True
        return True
