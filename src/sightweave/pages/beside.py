"""Two runs on one page: both scores of each task with tests of their difference, and the answers where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.pages.cards import Show, asked, said, shower
from sightweave.pages.page import (
    environment,
    facts,
    gallery_script,
    style_and_policy,
    with_cards,
    write,
)
from sightweave.pages.values import estimate, number, p_value, text

_NAMED = 10
"""Samples of one side alone that are named."""
_ORDER = ("first_only", "second_only", "both_wrong")


def write_beside(
    path: Path,
    title: str,
    found: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]] = (),
    pictures: Mapping[str, np.ndarray] | None = None,
    known: Mapping[str, Any] | None = None,
) -> int:
    """Writes the page and returns its size in bytes.

    Args:
        path: Where to.
        title: Of the page.
        found: As ``Beside.to_json`` gives it.
        rows: Of ``Beside.rows``, chosen by ``gallery.choose(rows, by="kind")``.
        pictures: Pixels (uint8 H W or H W 3) by the key that rows give as ``image``.
        known: Facts on the two, shown in this order.
    """
    return write(path, render_beside(title, found, rows, pictures or {}, known or {}))


def render_beside(
    title: str,
    found: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, np.ndarray],
    known: Mapping[str, Any],
) -> str:
    """The page as HTML; equal findings give equal bytes."""
    script = gallery_script() if rows else ""
    style, policy = style_and_policy(script)
    widest = _widest([part for task in found["tasks"] for part in (task, *task["types"])])
    of_tasks = _widest(found["tasks"])
    parts = {
        "title": title,
        "facts": facts(known),
        "style": style,
        "script": script,
        "policy": policy,
        "names": found["names"],
        "count": text(found["count"]),
        "pictures": text(found["pictures"]),
        "notes": found["notes"],
        "alone": [
            {
                "name": name,
                "count": len(keys),
                "named": [_key(key) for key in keys[:_NAMED]],
                "more": max(0, len(keys) - _NAMED),
            }
            for name, keys in zip(found["names"], (found["first_alone"], found["second_alone"]), strict=True)
            if keys
        ],
        "shares_pictures": any(task["pictures"] < task["count"] for task in found["tasks"]),
        "widest": number(widest),
        "widest_line": number(of_tasks),
        "lines": [_line(task, of_tasks) for task in found["tasks"]],
        "tasks": [_task(task, widest) for task in found["tasks"]],
    }
    show = shower(pictures)
    template = environment().get_template("beside.html.jinja")
    cards = [_card(row, show) for row in rows]
    return with_cards(template, parts, cards, order=lambda one: _ORDER.index(one["kind"]))


def _key(key: Mapping[str, str]) -> str:
    return " / ".join(part for part in (key["split"], key["task"], key["id"]) if part)


def _widest(parts: Sequence[Mapping[str, Any]]) -> float:
    """The largest end of an interval, 1 % at least: the ends of all bars."""
    found = [part["difference"] for part in parts if part["difference"]]
    ends = [abs(float(one[end])) for one in found for end in ("low", "high") if number(one[end])]
    return max([0.01, *ends])


_SAYS = {
    "first": "the first is better",
    "second": "the second is better",
    "none": "no significant difference",
}


def _line(task: Mapping[str, Any], widest: float) -> dict[str, Any]:
    """One task at a glance."""
    return {
        "name": task["task"],
        "split": task["split"] or "evaluation",
        "first": estimate(task["first"]),
        "second": estimate(task["second"]),
        "difference": estimate(task["difference"], is_signed=True),
        "bar": _bar(task["difference"], widest),
        "use": {"first": "yes", "second": "yes"}.get(task["verdict"], "unknown"),
        "says": _SAYS.get(task["verdict"], "too few samples to tell"),
    }


def _bar(found: Mapping[str, Any] | None, widest: float) -> dict[str, float] | None:
    if found is None or not estimate(found) or not number(found["low"]):
        return None
    return {end: _place(found[end] / widest) for end in ("value", "low", "high")}


def _task(task: Mapping[str, Any], widest: float) -> dict[str, Any]:
    types = task["types"]
    if len(types) == 1:
        rows = [_row(task, types[0]["type"] or task["task"], widest, is_task=True)]
    else:
        rows = [_row(task, f"mean of {len(types)} types", widest, is_task=True)]
        rows += [_row(kind, kind["type"], widest) for kind in types]
    return {
        "split": task["split"] or "evaluation",
        "name": task["task"],
        "metric": task["metric"].replace("_", " "),
        "verdict": task["verdict"],
        "sentence": task["sentence"],
        "rows": rows,
    }


def _row(part: Mapping[str, Any], name: str, widest: float, *, is_task: bool = False) -> dict[str, Any]:
    found = part["difference"]
    return {
        "name": name,
        "is_task": is_task,
        "count": text(part["count"]),
        "pictures": text(part["pictures"]),
        "first": estimate(part["first"]),
        "second": estimate(part["second"]),
        "difference": estimate(found, is_signed=True),
        "bar": _bar(found, widest),
        "p": p_value(part["p"]),
        "p_holm": p_value(part.get("p_holm")),
        "detectable": number(part["detectable"]),
        "first_only": text(part["first_only"]),
        "second_only": text(part["second_only"]),
        "mcnemar": p_value(part["mcnemar_p"]),
        "mcnemar_holm": p_value(part.get("mcnemar_holm")),
    }


def _place(share: float) -> float:
    """Where a share from -1 to 1 stands on the bar, whose ends are 6 and 206."""
    return round(106 + 100 * share, 1)


def _card(row: Mapping[str, Any], show: Show) -> dict[str, Any]:
    return {
        **asked(row, show),
        "kind": row["kind"],
        "gap": row["gap"],
        "answers": [said(row["first"]), said(row["second"])],
    }
