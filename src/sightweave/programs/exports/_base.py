"""What every export gives back: how its answers compare with ours, in the program that it was made for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightweave.core.errors import ExportError

TOLERANCE = 1e-3
"""Largest difference of two logits in fp32 that other kernels may make; a wrong part makes one a thousand times that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One sample in both programs."""

    id: str
    largest: float
    """Largest difference between two logits, over all places of text."""
    ours: str
    """Our greedy answer."""
    theirs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written, and what its own program says of it."""

    folder: Path
    layout: str
    program: str
    """The program that opened it, with its version; empty where none could."""
    compared: tuple[Compared, ...] = ()
    note: str = ""
    """Why nothing was compared, and how to."""

    @property
    def largest(self) -> float | None:
        """Largest difference between two logits of all samples; None where none was compared."""
        return max((one.largest for one in self.compared), default=None)

    @property
    def equal_answers(self) -> int:
        """Samples with the same greedy answer."""
        return sum(one.ours == one.theirs for one in self.compared)

    def to_plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "folder": str(self.folder),
            "layout": self.layout,
            "program": self.program,
            "samples": len(self.compared),
            "largest_difference": self.largest,
            "equal_answers": self.equal_answers,
            "note": self.note,
        }

    def to_text(self) -> str:
        """One or two lines for a terminal."""
        what = f"{self.folder}: {self.layout}"
        if not self.compared:
            return f"{what}; {self.note}"
        return (
            f"{what}, opened by {self.program}\n{len(self.compared)} samples: the largest difference of two logits is "
            f"{self.largest:.2g}, {self.equal_answers} of {len(self.compared)} greedy answers are equal"
        )

    def check(self, tolerance: float = TOLERANCE) -> None:
        """Fails where the other program does not say what we say.

        Args:
            tolerance: Largest difference of two logits that rounding explains.

        Raises:
            ExportError: logits that differ by more than rounding, or another answer; the worst sample is named.
        """
        if not self.compared:
            return
        worst = max(self.compared, key=lambda one: one.largest)
        if not worst.largest <= tolerance:  # not a number fails too
            raise ExportError(
                f"{self.folder}: in {self.program} the logits of sample {worst.id!r} differ by {worst.largest:.3g} "
                f"(rounding gives up to {tolerance:g}). The folder is left for a look; do not use it."
            )
        if other := [one for one in self.compared if one.ours != one.theirs]:
            raise ExportError(
                f"{self.folder}: {self.program} answers sample {other[0].id!r} with {other[0].theirs!r}, and Sightweave "
                f"with {other[0].ours!r} ({len(other)} of {len(self.compared)} differ). The folder is left for a look; do "
                "not use it."
            )
