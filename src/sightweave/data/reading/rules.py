"""Filters the rows of a source, and limits the number of bad rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightweave.data.reading.dataset import Record, task_of

_ENOUGH_ROWS = 1000
"""Number of rows from which only the share of bad rows matters."""
_FEW_BAD = 10
"""Number of bad rows that are always allowed with fewer than `_ENOUGH_ROWS` rows, but at most half of the rows."""
_VALIDATION_SHARE = 0.1
"""Maximum share of the images held out for validation, unless the source's options set a share."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The options of a source that filter its rows; the fields are documented in ``FilesConfig``."""

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
        """Whether a record has one of the wanted tasks and languages; a record without a language matches any."""
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
        """Share of the images, 0 to 1, that is held out for each split if no row has a split."""
        default = min(self.held_out, _VALIDATION_SHARE, (1 - self.held_out) / 2)
        return {"test": self.held_out, "validation": default if self.validation is None else self.validation}


def too_many_bad(bad: int, rows: int, max_bad: float) -> str:
    """The reason why data with this many bad rows must not be used for training; empty if it may be used.

    Args:
        bad: Number of bad rows.
        rows: Number of all rows.
        max_bad: Maximum share of bad rows, 0 to 1. With fewer than 1000 rows, ten bad rows are always allowed, but at most
            half of all rows.
    """
    few = min(_FEW_BAD, rows // 2) if rows < _ENOUGH_ROWS else 0
    if bad <= max(max_bad * rows, few):
        return ""

    if few > max_bad * rows:
        return f"{bad} of {rows} rows are bad, more than the {few} allowed; fix them, or raise max_bad"
    return f"{bad} of {rows} rows are bad, more than max_bad {max_bad:.1%}"


def is_judged_at_once(rows: int) -> bool:
    """Whether enough rows were read to stop if too many are bad; the first few may be bad only because they are similar."""
    return rows >= _ENOUGH_ROWS


def of_quality(
    values: dict[str, Any], min_quality: Mapping[str, float]
) -> tuple[dict[str, Any] | None, list[str]]:
    """Filters a row or its turns by ratings.

    Args:
        values: The row.
        min_quality: Minimum value for each rating column, which the row or a pair of turns must reach.

    Returns:
        The row without the turns whose ratings are too low, or None if the whole row is rejected; and the names of the
        rating columns that the row has.
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
    """Keeps the pairs of turns that are marked as good; images of a removed pair are moved to the next pair kept."""
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
