"""Stores the good rows of a source compactly, and rebuilds their records on every access."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.core.types import Medium
from sightweave.data.reading.dataset import Record, texts_of
from sightweave.data.reading.records import records
from sightweave.data.reading.row_images import Reference, RowImages
from sightweave.data.reading.rules import Rules

_NOT_KEPT = ("image", "images", "quality", "unread")
"""Fields of a row that are not needed to rebuild its records."""


class KeptRows:
    """Stores rows by number: rows that were read from files on disk, and records that were made in Python in memory.

    Args:
        images: Converts references to images; if it has a store, rows are written to that store.
        rules: Filters the records of a row.
    """

    def __init__(self, images: RowImages, rules: Rules) -> None:
        self._images, self._rules = images, rules
        self._in_memory: list[list[Record]] = []
        self._sizes = b""

    def append(
        self,
        values: Mapping[str, Any],
        references: Sequence[Reference],
        made: list[Record],
        *,
        name: str,
    ) -> None:
        """Stores one row.

        Args:
            values: Fields of the row.
            references: References to the row's images.
            made: The row's records that passed the filters.
            name: Id for the row's records if the row has none.
        """
        for reference in references:
            self._note_size(reference)

        store = self._images.store
        if store is None:
            self._in_memory.append(made)
            return

        fields = {key: value for key, value in values.items() if key not in _NOT_KEPT}
        store.append({**fields, "images": list(references), "name": name})

    @property
    def sizes(self) -> str:
        """A hexadecimal SHA-256 of the sizes of all image files, in the order of the rows; empty if there are none.

        Images inside other files are left out: their sizes are part of the rows.
        """
        return self._sizes.hex()

    def _note_size(self, reference: Reference) -> None:
        """Adds the size of an image's file to the hash, which is a chain, since a hash object cannot be pickled."""
        path: str | Path
        if isinstance(reference, str):
            path = f"{self._images.home}/{reference}"
        elif isinstance(reference, Medium) and isinstance(reference.source, str | Path):
            path = reference.source
        else:
            return

        try:
            size = os.stat(path).st_size
        except (OSError, ValueError):  # missing; training will report it
            size = -1
        self._sizes = hashlib.sha256(self._sizes + size.to_bytes(8, "big", signed=True)).digest()

    def make(self, number: int, split: str) -> list[Record]:
        """Rebuilds the records of one row that pass the filters, and sets their split to `split`."""
        if self._images.store is None:
            found = self._in_memory[number]
            return [one if one.split == split else replace(one, split=split) for one in found]

        row = self._images.store[number]
        images = [self._images.medium(one) for one in row["images"]]
        made = records({**row, "split": split}, images, row["name"], labelled=self._rules.labelled)
        return [record for record in made if self._rules.is_wanted(record)]

    def fingerprint(self, rows: np.ndarray) -> str:
        """A hexadecimal SHA-256 of the given row numbers and of the stored rows, which changes if any of them changes."""
        chosen = hashlib.sha256(rows.astype(np.int64).tobytes())
        if self._images.store is not None:
            chosen.update(self._images.store.digest().encode())
            return chosen.hexdigest()

        for number in rows:
            for record in self._in_memory[int(number)]:
                text = "\0".join((record.id, *texts_of(record)))
                chosen.update(text.encode("utf-8", "surrogatepass"))
        return chosen.hexdigest()
