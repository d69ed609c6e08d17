"""The dataset class for rows of any format: the images of one split, each with all of its records."""

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
    """A dataset that holds the images of one split, in order of first occurrence, each with all of its records.

    Args:
        make: Returns the records of row i.
        rows: int R: numbers of the rows, sorted by image.
        starts: int I+1: index into `rows` of each image's first row, followed by R.
        notes: Notes for the user on how the data was read, which were also logged.
        faults: The bad rows, which were skipped.
        named: bool R: whether each of `rows` has an id of its own.
        fingerprint: Hash that changes if the texts of a row or the paths of its images change (but not their bytes).
        sizes: Hash that changes if the size of an image file changes; empty if no images are files of their own.
        home: Folder of the images. In tables with the same folder, equal keys mean equal images.
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
        sizes: str = "",
        home: str = "",
    ) -> None:
        self.fingerprint, self.sizes, self.home = fingerprint, sizes, home
        self._make, self._rows, self._starts = make, rows, starts
        self._named = np.zeros(len(rows), bool) if named is None else named
        self.notes = tuple(notes)
        self.faults = tuple(faults)
        self.quarantined = Counter(fault.code for fault in faults)
        """Number of bad rows that were skipped, by the code of the fault."""

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> tuple[Record, ...]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image index {index} is out of range; there are {len(self)} images.")

        index %= len(self)
        found: list[Record] = []
        for row in self._rows[self._starts[index] : self._starts[index + 1]]:
            found += self._make(int(row))
        return tuple(found)

    def __iter__(self) -> Iterator[tuple[Record, ...]]:
        return (self[index] for index in range(len(self)))

    def renamed(self, prefix: str) -> Table:
        """A copy with a prefix before all image keys and groups, so that they differ from the keys of other folders."""
        found = copy.copy(self)
        found._make = partial(_renamed, self._make, prefix)
        return found

    @property
    def given_ids(self) -> frozenset[str]:
        """Ids of the records whose rows have an id; all other records are named after their line."""
        found: set[str] = set()
        for row in self._rows[self._named]:
            found.update(record.id for record in self._make(int(row)))
        return frozenset(found)

    def texts(self) -> Iterator[str]:
        """Yields all texts of all records."""
        for group in self:
            for record in group:
                yield from texts_of(record)


def _renamed(make: Callable[[int], list[Record]], prefix: str, number: int) -> list[Record]:
    found = []
    for record in make(number):
        images = tuple(Medium(one.source, prefix + one.key, one.modality) for one in record.images)
        if record.group == group_of(record.images, record.id):  # the default
            group = group_of(images, prefix + record.id)
        else:
            group = prefix + record.group if record.group else ""
        found.append(replace(record, images=images, group=group))
    return found
