"""The pictures of one split, each with all that is asked about it: what every dataset that is read from files becomes."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from sightweave.core.types import Medium, group_of
from sightweave.data.reading.dataset import Record, texts_of
from sightweave.data.reading.row_files import Fault


class Table:
    """Pictures of one split, in the order in which they first occur, each with all that is asked about it.

    Args:
        make: The records of row i.
        rows: Row numbers of all pictures, one picture after the other.
        starts: Where each picture's rows start in `rows`, and the end.
        notes: What a user should know about how the data was read; each was logged too.
        faults: The rows that were left out.
        named: bool R: whether each of `rows` brought an id.
        fingerprint: Changes when a row does: its texts, or the path or place of its pictures (not their bytes).
        home: Where its pictures lie: in tables of one home, equal names mean equal pictures.
    """

    def __init__(
        self,
        *,
        make: Callable[[int], list[Record]],
        rows: np.ndarray,
        starts: np.ndarray,
        notes: Sequence[str] = (),
        faults: Sequence[Fault] = (),
        named: np.ndarray | None = None,
        fingerprint: str = "",
        home: str = "",
    ) -> None:
        self.fingerprint, self.home = fingerprint, home
        self._make, self._rows, self._starts = make, rows, starts
        self._named = np.zeros(len(rows), bool) if named is None else named
        self.notes = tuple(notes)
        self.faults = tuple(faults)
        self.quarantined = Counter(fault.code for fault in faults)
        """How many rows were left out, by reason."""

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> tuple[Record, ...]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image index {index} is out of range; there are {len(self)} images.")
        index %= len(self)
        rows = self._rows[self._starts[index] : self._starts[index + 1]]
        return tuple(record for row in rows for record in self._make(int(row)))

    def __iter__(self) -> Iterator[tuple[Record, ...]]:
        return (self[index] for index in range(len(self)))

    def renamed(self, prefix: str) -> Table:
        """The same with this before the names of all pictures and groups, to tell them from those of another home."""
        found = copy.copy(self)
        found._make = partial(_renamed, self._make, prefix)
        return found

    @property
    def given_ids(self) -> frozenset[str]:
        """Ids that the rows brought with them; the others were named after their line."""
        return frozenset(record.id for row in self._rows[self._named] for record in self._make(int(row)))

    def texts(self) -> Iterator[str]:
        """All texts of all records."""
        for group in self:
            for record in group:
                yield from texts_of(record)


def _renamed(make: Callable[[int], list[Record]], prefix: str, number: int) -> list[Record]:
    found = []
    for record in make(number):
        images = tuple(Medium(one.source, prefix + one.key, one.modality) for one in record.images)
        is_own = record.group == group_of(record.images, record.id)
        group = group_of(images, prefix + record.id) if is_own else record.group and prefix + record.group
        found.append(replace(record, images=images, group=group))
    return found
