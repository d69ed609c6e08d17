"""Counts the most frequent items of a stream of any length in bounded memory.

Finding Repeated Elements (Misra and Gries 1982): whenever there are too many distinct items, all counts are lowered by
the same amount. An item that makes up more than 1 / `room` of the stream is never lost, and its count is too low by at
most that share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Frequent:
    """Counts of texts, exact for up to twice `room` distinct texts.

    Args:
        room: Number of distinct texts to keep when there are too many.
    """

    __slots__ = ("counts", "lost", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self.counts: dict[str, int] = {}
        """Number of occurrences of each text; too low by at most `lost`."""
        self.lost = 0
        """Largest possible error of a count; 0 as long as all counts are exact."""

    @classmethod
    def of(cls, room: int, lost: int, counts: Mapping[str, int]) -> Frequent:
        """Restores counts from the result of `to_plain`."""
        found = cls(room)
        found.lost, found.counts = lost, dict(counts)
        return found

    def to_plain(self) -> list[Any]:
        """The arguments of `of`, as plain JSON values."""
        return [self.room, self.lost, self.counts]

    def add(self, text: str) -> None:
        """Counts one text."""
        self.counts[text] = self.counts.get(text, 0) + 1
        if len(self.counts) > 2 * self.room:
            self.shrink(self.room)

    def shrink(self, room: int) -> None:
        """Keeps the `room` most frequent texts; ties go to the alphabetically first."""
        self.room = room
        if len(self.counts) <= room:
            return

        ordered = _ordered(self.counts)
        cut = self.counts[ordered[room]]
        self.counts = {text: max(1, self.counts[text] - cut) for text in ordered[:room]}
        self.lost += cut

    @property
    def first(self) -> str:
        """The most frequent text; ties go to the alphabetically first."""
        return min(self.counts, key=lambda text: (-self.counts[text], text))


def _ordered(counts: Mapping[str, int]) -> list[str]:
    return sorted(counts, key=lambda text: (-counts[text], text))
