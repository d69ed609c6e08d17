"""Which rows of a source are wanted, and how many may be bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightweave.data.reading.dataset import Record, task_of

_ENOUGH_ROWS = 1000
"""From here on the share of bad rows alone is judged."""
_FEW_BAD = 10
"""Bad rows that fewer rows than that may have, up to half of them, whatever their share."""
_VALIDATION_SHARE = 0.1
"""Largest share of the pictures held out for validation unless the source names another one."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a source was told about its rows; the fields are those of ``FilesConfig``, which documents them."""

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
        """Whether a record is of a wanted task and language; a record that names no language is."""
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
        """Share of the pictures that each other split gets where no row names one."""
        default = min(self.held_out, _VALIDATION_SHARE, (1 - self.held_out) / 2)
        return {"test": self.held_out, "validation": default if self.validation is None else self.validation}


def too_many_bad(bad: int, rows: int, max_bad: float) -> str:
    """Why data with this many bad rows should not be trained on; empty where it may be.

    Args:
        bad: Rows that are left out.
        rows: All rows.
        max_bad: The share that may be bad. Of fewer than a thousand rows ten may be bad as well, but not more than half.
    """
    few = min(_FEW_BAD, rows // 2) if rows < _ENOUGH_ROWS else 0
    if bad <= max(max_bad * rows, few):
        return ""
    if few > max_bad * rows:
        return f"{bad} of {rows} rows are bad, more than the {few} allowed; fix them, or raise max_bad"
    return f"{bad} of {rows} rows are bad, more than max_bad {max_bad:.1%}"


def is_judged_at_once(rows: int) -> bool:
    """Whether a share of bad rows ends the reading now. Few rows are judged at the end: bad ones often come together."""
    return rows >= _ENOUGH_ROWS


def of_quality(
    values: dict[str, Any], min_quality: Mapping[str, float]
) -> tuple[dict[str, Any] | None, list[str]]:
    """A row with those of its turns whose ratings are high enough, and which columns of ratings it has.

    Args:
        values: The row.
        min_quality: Columns of ratings, each with the least value that a row or a turn must have.

    Returns:
        The row, or None where it is not good enough or has no such rating; and the columns that were found.
    """
    turns = values.get("turns")
    ratings = values.get("quality") or {}
    seen: list[str] = []

    for column, least in min_quality.items():
        found = ratings.get(column, values.get(column))
        if found is None:
            return None, seen
        seen.append(column)

        if isinstance(found, list) and isinstance(turns, list):  # a rating for each pair of turns
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
    """Turns of the pairs that are good; pictures of a pair that is left out go to the next one that is kept."""
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
