"""Counts rows while they are read, and formats the counts as notes for the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightweave.data.reading.row_files import Fault


@dataclass
class Tally:
    """Counts of the rows of a source."""

    rows: int = 0
    """Number of all rows, including bad ones."""
    good: int = 0
    """Number of rows that are kept."""
    pictured: int = 0
    """Number of good rows that have an image."""
    unlabelled: int = 0
    """Number of rows that were skipped because they have no answer."""
    filtered: int = 0
    """Number of rows that the source's options filtered out."""
    repeated: int = 0
    """Number of rows whose id is that of an earlier row."""
    first_repeated: str = ""
    """The first duplicate id."""
    ignored: Counter[str] = field(default_factory=Counter)
    """For each column that was not read, by name: the number of rows that have it."""

    def notes(self, source: str, faults: Sequence[Fault], quarantine: Path | None) -> list[str]:
        """Notes for the user about the rows that were skipped and the columns that were not read.

        Args:
            source: Name of the source.
            faults: The bad rows.
            quarantine: File to which the bad rows were written, if any.
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
