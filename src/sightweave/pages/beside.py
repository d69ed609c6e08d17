"""The page that compares two runs: the scores of each task, tests of their differences, and answers that differ."""

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
"""Maximum number of samples to name among those that only one run contains."""
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
        path: The HTML file.
        title: The page's title.
        found: The output of ``Beside.to_json``.
        rows: Rows of ``Beside.rows``, chosen by ``gallery.choose(rows, by="kind")``.
        pictures: Pixels (uint8 H W or H W 3) of the images, by the ``image`` key of the rows.
        known: Facts about the two runs, in the order in which they are shown.
    """
    return write(path, render_beside(title, found, rows, pictures or {}, known or {}))


def render_beside(
    title: str,
    found: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, np.ndarray],
    known: Mapping[str, Any],
) -> str:
    """Returns the page as HTML; equal inputs give identical bytes."""
    script = gallery_script() if rows else ""
    style, policy = style_and_policy(script)

    # All bars of the summary share one scale, and all bars of the tables another.
    tasks = found["tasks"]
    of_tasks = _widest(tasks)
    with_types: list[Mapping[str, Any]] = []
    for task in tasks:
        with_types += [task, *task["types"]]
    widest = _widest(with_types)
    lines = [_line(task, of_tasks) for task in tasks]
    blocks = [_task(task, widest) for task in tasks]

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
        "alone": _alone(found),
        "shares_pictures": any(task["pictures"] < task["count"] for task in tasks),
        "widest": number(widest),
        "widest_line": number(of_tasks),
        "lines": lines,
        "tasks": blocks,
    }

    show = shower(pictures)
    cards = [_card(row, show) for row in rows]
    template = environment().get_template("beside.html.jinja")
    return with_cards(template, parts, cards, order=lambda one: _ORDER.index(one["kind"]))


def _alone(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each run with samples that the other lacks: how many there are, and the names of some."""
    sides = []
    for name, side in zip(found["names"], ("first_alone", "second_alone"), strict=True):
        keys = found[side]
        if keys:
            named = list(map(_key, keys[:_NAMED]))
            more = max(0, len(keys) - _NAMED)
            sides.append({"name": name, "count": len(keys), "named": named, "more": more})
    return sides


def _key(key: Mapping[str, str]) -> str:
    return " / ".join(filter(None, (key["split"], key["task"], key["id"])))


def _widest(parts: Sequence[Mapping[str, Any]]) -> float:
    """The largest absolute end of any interval, at least 0.01; all bars range from minus to plus this value."""
    widest = 0.01
    for part in parts:
        difference = part["difference"]
        for end in ("low", "high") if difference else ():
            if number(difference[end]):
                widest = max(widest, abs(float(difference[end])))
    return widest


_SAYS = {
    "first": "the first is better",
    "second": "the second is better",
    "none": "no significant difference",
}


def _line(task: Mapping[str, Any], widest: float) -> dict[str, Any]:
    """A line of the summary: both scores of a task, and their difference."""
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
    """Positions on the bar of a difference; None if it has no interval."""
    if found is None or not estimate(found) or not number(found["low"]):
        return None
    return {end: _place(found[end] / widest) for end in ("value", "low", "high")}


def _task(task: Mapping[str, Any], widest: float) -> dict[str, Any]:
    """A task's block of the table: a row for the mean over its types, and one for each type if it has several."""
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
    """The horizontal position on the bar of a share from -1 to 1; the bar spans 6 to 206."""
    return round(106 + 100 * share, 1)


def _card(row: Mapping[str, Any], show: Show) -> dict[str, Any]:
    return {
        **asked(row, show),
        "kind": row["kind"],
        "gap": row["gap"],
        "answers": [said(row["first"]), said(row["second"])],
    }
