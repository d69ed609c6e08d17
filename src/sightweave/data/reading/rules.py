"""Filters the rows of a source, and limits how many of them may be bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightweave.data.reading.dataset import Record, task_of

_ENOUGH_ROWS = 1000
"""Number of rows from which only the share of bad rows counts."""
_FEW_BAD = 10
"""Number of bad rows that are allowed below that, up to half of the rows, whatever their share."""
_VALIDATION_SHARE = 0.1
"""Maximum share of the images held out for validation unless the source names a share."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The options of a source that concern its rows; the fields are documented in ``FilesConfig``."""

    split: str = ""
    tasks: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    min_quality: Mapping[str, float] = field(default_factory=dict)
    limit: int | None = None
    held_out: float = 0.1
    validation: float | None = None
    strict: bool = False
    max_bad: float = 0.01
    quarantine_path: Path | None = None
    labelled: bool = True

    def is_wanted(self, record: Record) -> bool:
        """Whether a record has a wanted task and language; a record without a language has any language."""
        if self.tasks and task_of(record) not in self.tasks:
            return False
        if not self.languages:
            return True

        source, target = getattr(record, "source_language", ""), getattr(record, "target_language", "")
        if source and target:
            is_pair = f"{source}-{target}" in self.languages
            return is_pair or (source in self.languages and target in self.languages)
        return record.tags.get("language", self.languages[0]) in self.languages

    def shares(self) -> dict[str, float]:
        """Share of the images, 0 to 1, held out for each split where no row names a split."""
        default = min(self.held_out, _VALIDATION_SHARE, (1 - self.held_out) / 2)
        return {"test": self.held_out, "validation": default if self.validation is None else self.validation}


def too_many_bad(bad: int, rows: int, max_bad: float) -> str:
    """Why data with this many bad rows should not be trained on; empty if it may be.

    Args:
        bad: Number of bad rows.
        rows: Number of all rows.
        max_bad: Maximum share of bad rows, 0 to 1. Below 1000 rows, ten bad rows are allowed, up to half of them.
    """
    few = min(_FEW_BAD, rows // 2) if rows < _ENOUGH_ROWS else 0
    if bad <= max(max_bad * rows, few):
        return ""

    if few > max_bad * rows:
        return f"{bad} of {rows} rows are bad, more than the {few} allowed; fix them, or raise max_bad"
    return f"{bad} of {rows} rows are bad, more than max_bad {max_bad:.1%}"


def is_judged_at_once(rows: int) -> bool:
    """Whether too many bad rows stop the reading at once; the first rows are judged later, as bad rows come in clusters."""
    return rows >= _ENOUGH_ROWS


def of_quality(
    values: dict[str, Any], min_quality: Mapping[str, float]
) -> tuple[dict[str, Any] | None, list[str]]:
    """Filters a row, or its turns, by ratings.

    Args:
        values: The row.
        min_quality: Minimum value per rating column, which the row or a pair of turns must reach.

    Returns:
        The row with the turns whose ratings are high enough, or None if its own rating is too low or missing; and the
        rating columns that it has.
    """
    turns = values.get("turns")
    ratings = values.get("quality") or {}
    seen: list[str] = []

    for column, least in min_quality.items():
        found = ratings.get(column, values.get(column))
        if found is None:
            return None, seen
        seen.append(column)

        if isinstance(found, list) and isinstance(turns, list):  # one rating per pair of turns
            good = [isinstance(x, int | float) and x >= least for x in found]
            turns = _good_turns(turns, good)
            if not turns:
                return None, seen
        elif not isinstance(found, int | float) or found < least:
            return None, seen

    if turns is values.get("turns"):
        return values, seen
    return {**values, "turns": turns}, seen


def _good_turns(turns: Sequence[Any], good: Sequence[bool]) -> list[Any]:
    """The turns of the good pairs; images of a pair that is left out move to the next pair that is kept."""
    kept: list[Any] = []
    images: list[Any] = []
    pair = -1

    for turn in turns:
        pair += turn["role"] == "user"
        content = turn["content"] if isinstance(turn["content"], list) else [turn["content"]]
        if pair >= 0 and not (pair < len(good) and good[pair]):
            images += [one for one in content if isinstance(one, int)]
            continue

        kept.append({**turn, "content": [*images, *content] if turn["role"] == "user" else content})
        images = images if turn["role"] != "user" else []

    return kept if any(turn["role"] == "assistant" for turn in kept) else []
