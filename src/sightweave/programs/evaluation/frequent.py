"""Counts of what occurs most often in a stream of any length, in bounded memory.

Finding Repeated Elements (Misra and Gries 1982): whenever there are too many different items, all counts are lowered
alike. What occurs in more than one of `room` places is never lost, and a count is too low by no more than that share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Frequent:
    """Counts of texts; exact while no more than twice `room` differ.

    Args:
        room: Different texts that are kept when there are too many.
    """

    __slots__ = ("counts", "lost", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self.counts: dict[str, int] = {}
        """How often each text occurred, or `lost` less."""
        self.lost = 0
        """What each count may be too low by; 0 while all are exact."""

    @classmethod
    def of(cls, room: int, lost: int, counts: Mapping[str, int]) -> Frequent:
        """Counts that another one held."""
        made = cls(room)
        made.lost, made.counts = lost, dict(counts)
        return made

    def to_plain(self) -> list[Any]:
        """The arguments of `of`, ready for JSON."""
        return [self.room, self.lost, self.counts]

    def add(self, text: str) -> None:
        """Counts one text."""
        self.counts[text] = self.counts.get(text, 0) + 1
        if len(self.counts) > 2 * self.room:
            self.shrink(self.room)

    def shrink(self, room: int) -> None:
        """Keeps the `room` most frequent texts; of equally frequent ones, the first in the alphabet."""
        self.room = room
        if len(self.counts) <= room:
            return
        ordered = _ordered(self.counts)
        cut = self.counts[ordered[room]]
        self.counts = {text: max(1, self.counts[text] - cut) for text in ordered[:room]}
        self.lost += cut

    @property
    def first(self) -> str:
        """The most frequent text; of equally frequent ones, the first in the alphabet."""
        return min(self.counts, key=lambda text: (-self.counts[text], text))


def _ordered(counts: Mapping[str, int]) -> list[str]:
    return sorted(counts, key=lambda text: (-counts[text], text))
