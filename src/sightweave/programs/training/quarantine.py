"""Images and samples left out of training: each is recorded once, with its reason; too many of them stop the run."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sightweave.core import files
from sightweave.core.errors import DataError

logger = logging.getLogger(__name__)
FILE_NAME = "quarantine.jsonl"
"""Name of the file in a run folder."""
_PATIENCE = 1000
"""Minimum number of images used before too many bad ones stop the run."""
_TOLERATED = 0.01
"""Maximum fraction of bad images and samples."""


@dataclass(frozen=True)
class Entry:
    """An image or a sample that was left out."""

    key: str
    reason: str
    """Short name of the fault, for counters."""
    message: str


@dataclass(frozen=True)
class Kept:
    """The part of a quarantine that is saved for resuming."""

    seen: int
    reasons: dict[str, int]
    unreadable: list[str]
    known: list[str]


@dataclass
class Quarantine:
    """Images and samples that were left out, with their reasons."""

    path: Path | None = None
    """JSON lines file with one line for each image or sample left out."""
    seen: int = 0
    """Number of distinct images used so far."""
    reasons: Counter[str] = field(default_factory=Counter)
    unreadable: set[str] = field(default_factory=set)
    """Keys of images that are not tried again."""
    is_shared: bool = False
    """Whether several processes train together. Too many bad images then stop all of them, in `merge`."""
    _known: set[str] = field(default_factory=set)
    _news: deque[Entry] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False)

    def add(self, key: str, error: DataError) -> None:
        """Counts and records an image or a sample, unless it is already known.

        Raises:
            DataError: over 1 % of a thousand or more images are bad.
        """
        entry = Entry(key, str(getattr(error, "code", type(error).__name__)), str(error))
        if not self._record(entry):
            return

        logger.warning("skipped %s: %s", key, error)
        self._news.append(entry)
        if not self.is_shared:
            self._check(entry)

    def news(self) -> list[Entry]:
        """The entries that `add` made since the last call."""
        found = []
        while self._news:
            found.append(self._news.popleft())
        return found

    def merge(self, entries: Iterable[Entry]) -> None:
        """Counts and records the entries of other processes, unless they are already known.

        Raises:
            DataError: over 1 % of a thousand or more images are bad.
        """
        for entry in entries:
            self._record(entry)
            self._check(entry)

    def _record(self, entry: Entry) -> bool:
        """Counts and writes an entry; False if its image or sample is already known."""
        with self._lock:  # the thread that reads images adds while the loop merges
            if entry.key in self._known:
                return False
            self._known.add(entry.key)
            self.reasons[entry.reason] += 1

            if self.path is not None:
                row = {"picture": entry.key, "reason": entry.reason, "message": entry.message}
                with self.path.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")
            return True

    def _check(self, last: Entry) -> None:
        """Raises `DataError` if too many images are bad."""
        bad = sum(self.reasons.values())
        if self.seen >= _PATIENCE and bad > _TOLERATED * self.seen:
            raise DataError(
                f"{bad} of {self.seen} images cannot be read ({dict(self.reasons)}), more than {_TOLERATED:.0%}; "
                f"the last: {last.message}"
            )

    def drop_later(self) -> None:
        """Drops lines of the file that this quarantine does not know: they were written after the state that was resumed."""
        if self.path is None or not self.path.exists():
            return
        kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if self._knows(line)]
        files.write_text(self.path, "".join(f"{line}\n" for line in kept))

    def _knows(self, line: str) -> bool:
        try:
            return json.loads(line)["picture"] in self._known
        except (ValueError, LookupError, TypeError):  # the process was killed while it wrote the line
            return False

    def kept(self) -> Kept:
        """The value that `of` restores from; it does not include the path."""
        return Kept(self.seen, dict(self.reasons), sorted(self.unreadable), sorted(self._known))

    @classmethod
    def of(cls, kept: Kept) -> Self:
        """Restores a quarantine from `kept`, so that nothing is counted or written twice."""
        return cls(
            seen=kept.seen,
            reasons=Counter(kept.reasons),
            unreadable=set(kept.unreadable),
            _known=set(kept.known),
        )
