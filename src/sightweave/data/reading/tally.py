"""What a reading of rows came to, counted, and told in sentences."""

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
    """All rows, bad ones included."""
    good: int = 0
    """Rows that are kept."""
    pictured: int = 0
    """Good rows with a picture."""
    unlabelled: int = 0
    """Rows without an answer, which were not read."""
    filtered: int = 0
    """Rows that the source's rules do not want."""
    repeated: int = 0
    """Rows with an id that an earlier row has."""
    first_repeated: str = ""
    """The first such id."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Columns that were not read, with the number of rows that have them."""

    def notes(self, source: str, faults: Sequence[Fault], quarantine: Path | None) -> list[str]:
        """What a user should know of the reading.

        Args:
            source: Its name.
            faults: The bad rows.
            quarantine: The file that they were written to, if any.
        """
        notes = []
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
        if self.ignored:
            names = ", ".join(name for name, _ in self.ignored.most_common(10))
            notes.append(f"columns not read: {names}.")
        if self.repeated:
            notes.append(f"{self.repeated} rows have a duplicate id, such as {self.first_repeated!r}.")
        return [f"{source}: {note}" for note in notes]
