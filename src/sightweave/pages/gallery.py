"""Which of many answers a reader is shown: a few of every kind, right and wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

PER_SPLIT = 60


def spread(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows in an order that has nothing to do with where they are in the data: by the hashes of their ids."""
    return sorted(rows, key=lambda row: hashlib.sha256(str(row["id"]).encode("utf-8", "replace")).digest())


def choose(
    rows: Sequence[Mapping[str, Any]], *, limit: int = PER_SPLIT, by: str = "right"
) -> list[Mapping[str, Any]]:
    """Up to ``limit`` rows of each split, taken in turn from every (task, type, right or wrong).

    Within one kind, rows on pictures that were not yet chosen come first, so that the reader sees many pictures.

    Args:
        rows: Prediction rows with ``split``, ``task``, ``type``, ``group`` and ``right``.
        limit: Rows of one split at most.
        by: The field that says right or wrong; rows of two models have ``kind``.
    """
    chosen: list[Mapping[str, Any]] = []
    for split in dict.fromkeys(row["split"] for row in rows):
        kinds: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
        for row in rows:
            if row["split"] == split:
                kinds.setdefault((row["task"], row["type"], row[by]), []).append(row)
        waiting = [kinds[kind] for kind in sorted(kinds)]
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
        chosen += picked
    return chosen
