"""What is left out of training: each picture or sample once, with its reason, and an end where there are too many."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sightweave.core.errors import DataError

logger = logging.getLogger(__name__)
FILE_NAME = "quarantine.jsonl"
"""Of the file in a run's folder."""
_PATIENCE = 1000
"""Pictures after which a share of bad ones stops the run."""
_TOLERATED = 0.01


@dataclass(frozen=True)
class Kept:
    """What a resumed training must know of a quarantine."""

    seen: int
    reasons: dict[str, int]
    unreadable: list[str]
    known: list[str]


@dataclass
class Quarantine:
    """Pictures that were left out, with their reasons."""

    path: Path | None = None
    """A JSONL file that gets one line for each."""
    seen: int = 0
    """Different pictures that were asked for."""
    reasons: Counter[str] = field(default_factory=Counter)
    unreadable: set[str] = field(default_factory=set)
    """Keys of pictures that are not tried again."""
    _known: set[str] = field(default_factory=set)

    def add(self, key: str, error: DataError) -> None:
        """Counts and writes one, the first time that it is met.

        Raises:
            DataError: over 1 % of more than a thousand pictures are bad.
        """
        if key in self._known:
            return
        self._known.add(key)
        reason = str(getattr(error, "code", type(error).__name__))
        self.reasons[reason] += 1
        logger.warning("skipped %s: %s", key, error)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"picture": key, "reason": reason, "message": str(error)}) + "\n")
        bad = sum(self.reasons.values())
        if self.seen >= _PATIENCE and bad > _TOLERATED * self.seen:
            raise DataError(
                f"{bad} of {self.seen} images cannot be read ({dict(self.reasons)}), more than {_TOLERATED:.0%}; "
                f"the last: {error}"
            )

    def kept(self) -> Kept:
        """What `of` takes; the path is not in it."""
        return Kept(self.seen, dict(self.reasons), sorted(self.unreadable), sorted(self._known))

    @classmethod
    def of(cls, kept: Kept) -> Self:
        """Continues from what `kept` gave: what was counted and written once is not counted or written again."""
        return cls(
            seen=kept.seen,
            reasons=Counter(kept.reasons),
            unreadable=set(kept.unreadable),
            _known=set(kept.known),
        )
