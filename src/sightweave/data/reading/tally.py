"""Counts rows while they are read, and reports the counts as notes for the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightweave.data.reading.row_files import Fault


@dataclass
class Tally:
    """Counts over the rows of a source."""

    rows: int = 0
    """Number of all rows, including bad ones."""
    good: int = 0
    """Number of rows that are kept."""
    pictured: int = 0
    """Number of good rows with an image."""
    unlabelled: int = 0
    """Number of rows without an answer, which were not read."""
    filtered: int = 0
    """Number of rows that were filtered out by the source's options."""
    repeated: int = 0
    """Number of rows with the id of an earlier row."""
    first_repeated: str = ""
    """The first duplicate id."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Columns that were not read, with the number of rows that have them."""

    def notes(self, source: str, faults: Sequence[Fault], quarantine: Path | None) -> list[str]:
        """Notes for the user on how the rows were read.

        Args:
            source: Name of the source.
            faults: The bad rows.
            quarantine: File that they were written to, if any.
        """
        notes = []

        # Rows: bad ones, those without an image or answer, and those that were filtered out.
        if faults:
            counts = Counter(fault.code for fault in faults).most_common()
            reasons = ", ".join(f"{code}: {count}" for code, count in counts)
            where = f"; see {quarantine}" if quarantine is not None else ""
            notes.append(f"{len(faults)} of {self.rows} rows skipped ({reasons}){where}.")
        if self.good and not self.pictured:
            notes.append(
                f"none of {self.good} rows has an image, so they train a language model on text only. If there should be "
                "images, put their paths in 'image' or 'images'."
            )
        if self.unlabelled:
            notes.append(f"{self.unlabelled} rows have no answer and were not read.")
        if self.filtered:
            notes.append(
                f"{self.filtered} of {self.rows} rows were filtered out by tasks, languages or min_quality."
            )

        # Columns and ids.
        if self.ignored:
            names = ", ".join(name for name, _ in self.ignored.most_common(10))
            notes.append(f"columns not read: {names}.")
        if self.repeated:
            notes.append(f"{self.repeated} rows have a duplicate id, such as {self.first_repeated!r}.")

        return [f"{source}: {note}" for note in notes]
