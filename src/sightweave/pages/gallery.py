"""Chooses the answers that a page shows: a few of every kind, right and wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

PER_SPLIT = 60
"""Maximum number of answers shown per split."""


def spread(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows in a reproducible shuffled order, sorted by the hashes of their ids."""
    return sorted(rows, key=lambda row: hashlib.sha256(str(row["id"]).encode("utf-8", "replace")).digest())


def choose(
    rows: Sequence[Mapping[str, Any]], *, limit: int = PER_SPLIT, by: str = "right"
) -> list[Mapping[str, Any]]:
    """Up to `limit` rows of each split, taken in turn from every combination of task, type, and right or wrong.

    Within each combination, rows about images that are not chosen yet come first, so that many images are shown.

    Args:
        rows: Prediction rows with ``split``, ``task``, ``type``, ``group`` and ``right``.
        limit: Maximum number of rows per split.
        by: The field that separates right from wrong rows; use ``kind`` for rows that compare two models.
    """
    kinds_of: dict[str, dict[tuple[Any, ...], list[Mapping[str, Any]]]] = {}
    for row in rows:
        kinds = kinds_of.setdefault(row["split"], {})
        kinds.setdefault((row["task"], row["type"], row[by]), []).append(row)

    chosen: list[Mapping[str, Any]] = []
    for kinds in kinds_of.values():
        chosen += _in_turn([kinds[kind] for kind in sorted(kinds)], limit)
    return chosen


def _in_turn(waiting: Sequence[list[Mapping[str, Any]]], limit: int) -> list[Mapping[str, Any]]:
    """Takes one row from each list in turn, up to `limit`; the lists are consumed."""
    picked: list[Mapping[str, Any]] = []
    seen: set[str] = set()

    while len(picked) < limit and any(waiting):
        for rest in waiting:
            if not rest or len(picked) == limit:
                continue
            place = next((n for n, row in enumerate(rest) if row["group"] not in seen), 0)
            row = rest.pop(place)
            seen.add(row["group"])
            picked.append(row)
    return picked
