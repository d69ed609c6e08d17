"""Files that are written whole or not at all, and output folders that one command at a time writes into.

An output folder holds a file ``.sightweave``. It says that the folder is ours, so that a later command may replace what an
earlier one left there, and it is locked while a command writes. The system drops the lock when that process ends, however it
ends.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import json
import os
import shutil
import socket
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from sightweave.core.errors import FolderError

MARK = ".sightweave"
"""The file in an output folder that is locked while a command writes there."""
_LEFTOVER_SECONDS = 3600
_MOST_MARKER_BYTES = 1 << 26
_SHOWN = 10


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file: after a crash it holds either all of the new content or all of the old.

    Raises:
        OSError: the disk is full, or the place cannot be written; what stood there is unharmed.
    """
    with replacing(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """The same for text, as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of a file when the block ends without an error.

    A pipe or a device, such as ``/dev/stdout``, is written to directly.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    remove_leftovers(path)
    temporary = temporary_beside(path)
    try:
        # A file made by open() has the permissions that the umask asks for; those of tempfile are for the owner alone.
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """A new name on the same disk, for what is renamed to `path` once it is whole."""
    return path.with_name(f".{path.name}.tmp-{uuid.uuid4().hex[:12]}")


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, to be filled and then put in its place by `swap`; without that it is removed."""
    remove_leftovers(path)
    temporary = temporary_beside(path)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def swap(temporary: Path, path: Path) -> None:
    """Puts a folder that is whole in the place of another one, if there is one; `whole` finds one of them at any moment."""
    # A folder cannot be renamed over a folder, so the old one steps aside until the new one is there.
    old = aside(path)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    temporary.rename(path)
    force_to_disk(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def whole(path: Path) -> Path:
    """Where a folder that `swap` put in place is: there, or beside it if that process died between its two renames."""
    old = aside(path)
    return old if not path.exists() and old.is_dir() else path


def aside(path: Path) -> Path:
    """Where `swap` keeps the folder that it replaces."""
    path = Path(os.path.abspath(path))  # "." has no name
    return path.with_name(f".{path.name}.previous")


def force_to_disk(path: Path) -> None:
    """Returns once a file or a folder is on the disk."""
    if path.is_dir() and os.name != "posix":  # elsewhere folders cannot be opened
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def follow_umask(path: Path) -> None:
    """Gives a file the permissions of an ordinary new one; libraries that write through tempfile give the owner's alone."""
    ordinary = temporary_beside(path)
    with ordinary.open("xb") as stream:
        mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    ordinary.unlink()
    path.chmod(mode)


def remove_leftovers(path: Path) -> None:
    """Removes what killed writers of `path` left more than an hour ago; a younger one may still be at work."""
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
        folder: Any.
        markers: For folders without `MARK`, such as copies: JSON files that also say so, each with a key that it has.
    """
    return (folder / MARK).is_file() or any(has_key(folder / name, key) for name, key in markers.items())


def has_key(file: Path, key: str) -> bool:
    """Whether a file is a JSON object that has a key."""
    try:
        if not file.is_file() or file.stat().st_size > _MOST_MARKER_BYTES:
            return False
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and key in value


def refuse_foreign(folder: Path, writes: Sequence[str], markers: Mapping[str, str]) -> None:
    """Refuses a folder in which a command would overwrite files that Sightweave did not write.

    Args:
        folder: Where to.
        writes: Names and patterns of what the command writes.
        markers: As for `is_ours`.

    Raises:
        FolderError: it holds such files and is not ours, or it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"{folder}: is a file; a folder is needed.")
    if is_ours(folder, markers):
        return
    if found := present(folder, writes):
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise FolderError(
            f"{folder}: holds {', '.join(found[:_SHOWN])}{more}, which were not written by Sightweave and would "
            "be overwritten. "
            "Choose another folder, or move these files."
        )


def refuse_other(path: Path, *, is_ours: Callable[[Path], bool]) -> None:
    """Refuses to overwrite a file that an earlier command of ours did not write; a pipe or a device is let through.

    Raises:
        FolderError: it is such a file, or a folder.
    """
    if path.is_dir():
        raise FolderError(f"{path}: is a folder; a file is needed.")
    if path.is_file() and path.stat().st_size and not is_ours(path):
        raise FolderError(
            f"{path}: this file was not written by Sightweave and would be overwritten. Choose another name, or move it."
        )


def present(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Names in a folder that match any of the patterns, dangling links included."""
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(name for name in names if any(fnmatch.fnmatchcase(name, one) for one in patterns))


@contextlib.contextmanager
def claimed(
    folder: Path, *, writes: Sequence[str], markers: Mapping[str, str], purpose: str
) -> Iterator[None]:
    """Makes a folder if needed and keeps every other command out of it until the block ends.

    On an error, folders that were made for nothing are removed.

    Args:
        folder: Where the command writes.
        writes: Names and patterns of what it writes.
        markers: As for `is_ours`.
        purpose: What the command does, for whoever is kept out: ``training``.

    Raises:
        FolderError: another process writes there, or the folder holds files of these names that are not ours.
        OSError: the folder cannot be made or written to.
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
            os.close(mark)  # which drops the lock


@contextlib.contextmanager
def making(folder: Path) -> Iterator[None]:
    """Makes a folder with its parents; after an error those of them that were made for nothing are removed."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for one in missing:
            with contextlib.suppress(OSError):  # something lies in it
                one.rmdir()
        raise


def check_free(folder: Path) -> None:
    """Raises `FolderError` where another process writes into a folder just now."""
    if (folder / MARK).is_file():
        os.close(_locked(folder, ""))


def _locked(folder: Path, purpose: str) -> int:
    """An open, locked `MARK` that says who holds it."""
    path = folder / MARK
    while True:
        mark = _open(path)
        try:
            if not _lock(mark):
                raise FolderError(
                    f"{folder}: in use by {_holder(mark)}. Wait until it ends, or choose another folder."
                )
            # Whoever held it before may have removed the file between our opening and our locking it.
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
    # A link would lead the writing elsewhere, and a pipe would wait for a reader.
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
    try:
        return os.path.samestat(os.fstat(mark), path.stat())
    except FileNotFoundError:
        return False


def _sign(mark: int, purpose: str) -> None:
    who = {"format_version": 1, "pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose}
    with contextlib.suppress(OSError):  # opened for reading only; the lock holds all the same
        os.ftruncate(mark, 0)
        os.lseek(mark, 0, os.SEEK_SET)
        os.write(mark, json.dumps(who).encode() + b"\n")


def _holder(mark: int) -> str:
    try:
        os.lseek(mark, 0, os.SEEK_SET)
        who = json.loads(os.read(mark, 4096))
        return f"process {int(who['pid'])} on {str(who['host'])!r} ({str(who['purpose'])!r})"
    except (OSError, ValueError, KeyError, TypeError):  # it is about to sign
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(mark: int) -> bool:
        try:
            # Far behind the text, which others must be able to read.
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
            # Some network disks know no locks. Working without one is better than not at all.
            return True
        return True
