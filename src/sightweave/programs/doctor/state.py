"""Stores facts about checked images in a file, so that a check that was stopped can be resumed."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sightweave.core.errors import DataError
from sightweave.core.types import Medium
from sightweave.data.reading.image_paths import Slice
from sightweave.programs.doctor.pictures import PictureFacts
from sightweave.programs.doctor.workers import facts_of

_VERSION = 1
_COMMIT_EVERY = 500
"""Number of images after which facts are written to disk."""


class State:
    """The images of a check by number and by key, with the facts about them, all stored on disk.

    Args:
        path: A SQLite file, created if it does not exist.

    Raises:
        DataError: the file is not one that this class wrote.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

        base: sqlite3.Connection | None = None
        try:
            base = sqlite3.connect(path)
            # Writing need not survive a power failure: lost images are only checked again.
            base.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;")
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                base.executescript("DROP TABLE IF EXISTS facts;")
            base.executescript(
                f"PRAGMA user_version={_VERSION};"
                "CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, stamp TEXT, facts TEXT) WITHOUT ROWID;"
                "CREATE TEMP TABLE seen (number INTEGER PRIMARY KEY, key TEXT UNIQUE, source TEXT);"
            )
        except sqlite3.DatabaseError as error:
            if base is not None:
                base.close()
            raise DataError(f"{path}: not a file written by this check ({error}); remove it.") from None

        self._database = base
        self._count = 0
        self._unsaved = 0

    def number(self, medium: Medium) -> tuple[int, bool]:
        """The number of an image in this check, from 0, and whether it is new."""
        row = self._database.execute("SELECT number FROM seen WHERE key = ?", (medium.key,)).fetchone()
        if row is not None:
            return row[0], False

        source = json.dumps(_place(medium.source))
        self._database.execute("INSERT INTO seen VALUES (?, ?, ?)", (self._count, medium.key, source))
        self._count += 1
        return self._count - 1, True

    def key(self, number: int) -> str:
        """The key of the image with this number."""
        (key,) = self._database.execute("SELECT key FROM seen WHERE number = ?", (number,)).fetchone()
        return str(key)

    def medium(self, key: str, read: Callable[[int, int], bytes] | None) -> Medium | None:
        """The image with this key, to be read again; None if that is not possible.

        Args:
            key: Key of the image.
            read: Reads the bytes of an image that is stored inside a row, given their offset and number.
        """
        row = self._database.execute("SELECT source FROM seen WHERE key = ?", (key,)).fetchone()
        place = json.loads(row[0]) if row is not None else None

        if isinstance(place, str):
            return Medium(Path(place), key)
        if isinstance(place, list) and len(place) == 3:
            return Medium(Slice(Path(place[0]), place[1], place[2], key), key)
        if isinstance(place, list) and read is not None:
            return Medium(partial(read, *place), key)
        return None

    def paths(self) -> Iterator[Path]:
        """Yields the image files of this check, and the shards that contain its images."""
        for (text,) in self._database.execute("SELECT source FROM seen"):
            place = json.loads(text)
            if isinstance(place, str):
                yield Path(place)
            elif isinstance(place, list) and len(place) == 3:
                yield Path(place[0])

    def __len__(self) -> int:
        """Number of images in this check."""
        return self._count

    def known(self, key: str, stamp: str) -> PictureFacts | None:
        """The facts from an earlier check; None if the image is unknown or has changed since."""
        row = self._database.execute("SELECT stamp, facts FROM facts WHERE key = ?", (key,)).fetchone()
        if row is None or row[0] != stamp or not stamp:
            return None
        return _facts(row[1])

    def keep(self, key: str, stamp: str, facts: PictureFacts) -> None:
        """Stores the facts about an image."""
        self._database.execute(
            "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (key, stamp, json.dumps(facts))
        )
        self._unsaved += 1
        if self._unsaved >= _COMMIT_EVERY:
            self._database.commit()
            self._unsaved = 0

    def facts(self, number: int) -> PictureFacts | None:
        """The facts about an image of this check, which may be from an earlier check; None if there are none."""
        row = self._database.execute(
            "SELECT facts FROM facts JOIN seen USING (key) WHERE number = ?", (number,)
        ).fetchone()
        return None if row is None else _facts(row[0])

    def digests(self) -> Iterator[tuple[int, str]]:
        """Yields number and SHA-256 of each readable image of this check."""
        rows = self._database.execute("SELECT number, facts FROM facts JOIN seen USING (key) ORDER BY number")
        for number, text in rows:
            digest = _facts(text).digest
            if digest:
                yield number, digest

    def close(self) -> None:
        """Writes the remaining facts and closes the file."""
        self._database.commit()
        self._database.close()


def _facts(text: str) -> PictureFacts:
    return facts_of(json.loads(text))


def _place(source: object) -> str | list[Any] | None:
    """The location of an image as plain JSON data; None if it has none."""
    if isinstance(source, Path):
        return str(source)
    if isinstance(source, Slice):
        return [str(source.path), source.offset, source.size]
    if isinstance(source, partial):
        return list(source.args)
    return None


def stamp_of(medium: Medium) -> str:
    """A string that changes when the image's file does; empty if changes cannot be detected."""
    source = medium.source

    try:
        if isinstance(source, Slice):
            status = source.path.stat()
            return f"{_times(status)}:{source.offset}:{source.size}"
        if isinstance(source, Path):
            status = source.stat()
            return _times(status)
    except OSError:
        pass
    return ""


def _times(status: os.stat_result) -> str:
    """Size and times of a file; the time of its last status change, unlike that of its content, cannot be set back."""
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
