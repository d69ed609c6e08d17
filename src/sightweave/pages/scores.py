"""Converts evaluations to variables of a page's template.

Evaluations written by earlier versions have fewer fields; what is missing is left out of the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightweave.core.verdicts import HARDLY, NO, NOT_NEEDED, UNKNOWN, YES, use_of_image
from sightweave.pages import certainty
from sightweave.pages.values import SHARE, estimate, number, p_value, text

CONTROL_NAMES = {
    "no_image": "no image",
    "shuffled_image": "wrong image",
    "blank_image": "grey image",
    "copied_source": "copied source",
}
BASELINE_NAMES = {"majority": "majority", "neighbour": "text only"}
_LEFT, _WIDTH = 6, 200
"""Left end of a score's bar, and its length for 100 %, in units of the drawing."""
_TOGETHER = 6
"""Maximum number of controls and baselines in one table; further ones go into another table."""

Scores = Mapping[str, Any]


def can(evaluations: Sequence[Scores]) -> list[dict[str, Any]]:
    """The overview of a model's abilities: a headline for each split, and one line per task."""
    shown = []
    for found in evaluations:
        scored = [task for task in _tasks(found) if estimate(task.get("score"), _unit(task))]
        split = {
            "split": _split(found),
            "count": text(found.get("count")),
            "pictures": _pictures(found),
            "verdict": found.get("uses_image", "unknown"),
            "headline": found.get("sentence", ""),
            "tasks": [_line(task) for task in scored],
        }
        shown.append(split)

    return shown


def _line(task: Scores) -> dict[str, Any]:
    """The overview line of one task: its score, the best score without looking at the image, and the conclusion."""
    unit = _unit(task)
    use = _use(task)
    rival, reached = _best_rival(task)

    return {
        "name": task["task"],
        "unit": unit,
        "score": estimate(task["score"], unit),
        "rival": rival_name(rival),
        "reached": number(reached, unit),
        "bar": _short_bar(task, reached) if unit == SHARE else None,
        "use": use,
        "says": _SAYS[use],
    }


_SAYS = {
    YES: "uses the image",
    HARDLY: "gains from the image, perhaps little",
    NOT_NEEDED: "does not need the image",
    NO: "shows no use of the image",
    UNKNOWN: "use of the image not known",
}


def _use(task: Scores) -> str:
    """The verdict on a task's use of the image, one of the keys of `_SAYS`."""
    shown = use_of_image(task.get("uses_image", UNKNOWN), needs_image=task.get("needs_image", True))
    return shown if shown in _SAYS else UNKNOWN


def _best_rival(task: Scores) -> tuple[str, float | None]:
    """The name and score of the best control or baseline that answers without looking at the image."""
    of_controls = _of(task, "controls")
    # Evaluations from earlier versions name at most one control.
    names = _of(task, "gains") or [task.get("gain_over") or "no_image"]

    known = []
    for name in names:
        score = _value(task.get(name) if name in BASELINE_NAMES else of_controls.get(name))
        if score is not None:
            known.append((score, name))

    best, name = max(known, default=(None, ""))
    return name, best


def _short_bar(task: Scores, reached: float | None) -> dict[str, Any]:
    """Positions on the bar of a line: the score, its interval, and the best score without looking at the image."""
    score = task["score"]
    interval = score if isinstance(score, Mapping) else {}
    return {
        "score": _place(score),
        "low": _place(interval.get("low")),
        "high": _place(interval.get("high")),
        "reached": _place(reached),
    }


def controls(evaluations: Sequence[Scores]) -> list[str]:
    """Names of all controls of all splits, in the order of their markers."""
    found: dict[str, None] = {}
    for one in evaluations:
        for part in _parts(one):
            found |= dict.fromkeys(_of(part, "controls"))
    return list(found)


def control_name(name: str) -> str:
    """The display name of a control."""
    return CONTROL_NAMES.get(name, name.replace("_", " "))


def rival_name(name: str) -> str:
    """The display name of a control or a baseline."""
    return BASELINE_NAMES.get(name) or control_name(name)


def evaluation(found: Scores, marks: Sequence[str]) -> dict[str, Any]:
    """The tables and drawings of one split, as variables of the template.

    Args:
        found: The output of ``Evaluation.to_json``.
        marks: Names of controls in the order of their markers.
    """
    # Show only columns in which some task or type has a value.
    parts = _parts(found)
    columns = [column for column in _COLUMNS if _any_has(parts, column)]
    others = [column for column in _others(controls([found]), marks) if _any_has(parts, column)]

    tasks = []
    for task in _tasks(found):
        shown = {
            "name": task["task"],
            "metric": str(task.get("metric", "")).replace("_", " "),
            "unit": "per cent" if _unit(task) == SHARE else _unit(task),
            "verdict": _use(task),
            "sentence": task.get("sentence", ""),
            "rows": _rows(task, columns, others, marks),
            **_further(task, found.get("notes", ())),
            "calibration": _calibration(task.get("calibration")),
        }
        tasks.append(shown)

    return {
        "split": _split(found),
        "count": text(found.get("count")),
        "pictures": _pictures(found),
        "notes": found.get("notes", ()),
        "columns": columns,
        # Split into tables that are narrow enough for small screens.
        "others": [others[start : start + _TOGETHER] for start in range(0, len(others), _TOGETHER)],
        "has_options": _any_has(parts, {"key": "chance"}),
        "has_neighbour": _any_has(parts, {"key": "neighbour"}),
        "has_floors": any(task.get("floors") for task in _tasks(found)),
        "has_ceilings": any(task.get("ceilings") for task in _tasks(found)),
        "tasks": tasks,
    }


def _parts(found: Scores) -> list[Scores]:
    """All tasks of a split, each followed by its types."""
    parts: list[Scores] = []
    for task in _tasks(found):
        parts += [task, *_types(task)]
    return parts


def _split(found: Scores) -> str:
    return found.get("split") or "evaluation"


def _pictures(found: Scores) -> str:
    """The number of images in the questions, followed by the number they were sampled from, if known."""
    asked, total = found.get("pictures"), found.get("pictures_total")
    return text(asked) if total is None else f"{text(asked)} of {text(total)}"


def _tasks(found: Scores) -> Sequence[Scores]:
    return found.get("tasks") or ()


def _types(task: Scores) -> Sequence[Scores]:
    return task.get("types") or ()


def _of(part: Scores, key: str) -> Mapping[str, Any]:
    """The mapping in a field; empty if it is missing."""
    return part.get(key) or {}


def _facts(task: Scores, metric: str) -> Mapping[str, Any]:
    """An evaluation's facts about a metric, such as its unit, totals and signature."""
    return _of(task, "facts").get(metric) or {}


def _unit(task: Scores, metric: str | None = None) -> str:
    return str(_facts(task, metric or task.get("metric", "")).get("unit", SHARE))


_COLUMNS: tuple[Mapping[str, Any], ...] = (
    {"key": "gain", "name": "gain"},
    {"key": "leakage", "name": "leakage"},
    {"key": "detectable", "name": "detectable"},
    {"key": "unparsed", "name": "unparsed"},
)
"""The possible columns next to the score."""


def _others(names: Sequence[str], marks: Sequence[str]) -> list[Mapping[str, Any]]:
    """Columns for chance, for baselines, and for controls with their markers."""
    found: list[Mapping[str, Any]] = [{"key": "chance", "name": "chance"}]
    for key, name in BASELINE_NAMES.items():
        found.append({"key": key, "name": name})
    for key in names:
        mark = marks.index(key)
        found.append({"key": key, "name": control_name(key), "control": True, "mark": mark})
    return found


def _any_has(parts: Sequence[Scores], column: Mapping[str, Any]) -> bool:
    """Whether some task or type has a value in a column."""
    return any(_score_in(part, column) is not None for part in parts)


def _score_in(part: Scores, column: Mapping[str, Any]) -> Any:
    """The value of a task or type in a column; None if it has none."""
    found = _of(part, "controls") if column.get("control") else part
    return found.get(column["key"])


def _rows(
    task: Scores,
    columns: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]],
    marks: Sequence[str],
) -> list[dict[str, Any]]:
    """A row for the mean over the types and one for each type; a task with a single type has one row."""
    types, unit = _types(task), _unit(task)

    def row(part: Scores, name: str, *, is_task: bool) -> dict[str, Any]:
        return {
            "name": name,
            "is_task": is_task,
            "count": text(part.get("count")),
            "score": estimate(part.get("score"), unit),
            "cells": _cells(part, columns, unit),
            "others": _cells(part, others, unit),
            "said": _said(part, others),
            "bar": _bar(part, marks) if unit == SHARE and estimate(part.get("score")) else None,
        }

    if len(types) == 1:
        # Merge both, because only the task has a leakage and only the type has a most frequent answer.
        merged = {"majority_answer": types[0].get("majority_answer", ""), **task}
        return [row(merged, types[0].get("type") or task["task"], is_task=True)]

    name = f"mean of {len(types)} types" if types else task["task"]
    rows = [row(task, name, is_task=True)]
    rows += [row(kind, kind.get("type", ""), is_task=False) for kind in types]
    return rows


def _cells(part: Scores, columns: Sequence[Mapping[str, Any]], unit: str) -> list[dict[str, Any]]:
    return [_cell(part, column, unit) for column in columns]


def _cell(part: Scores, column: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """One cell: a value with smaller lines below it; empty if the task or type has no value."""
    key = column["key"]
    if key == "unparsed" and not column.get("control"):
        found = _unparsed(part)
    else:
        is_signed = key in ("gain", "leakage") and not column.get("control")
        found = estimate(_score_in(part, column), unit, is_signed=is_signed)

    cell: dict[str, Any] = {"name": column["name"], "value": "", "small": [], "title": ""}
    if found is None:
        return cell
    if key == "majority" and part.get("majority_answer"):
        cell["title"] = f"always: {part['majority_answer']}"
    small = [found["range"], p_value(part.get("gain_p")) if key == "gain" else ""]
    return {**cell, "value": found["value"], "small": list(filter(None, small))}


def _unparsed(part: Scores) -> dict[str, str] | None:
    """The number of unparsed answers and their share; None if not known."""
    count = part.get("unparsed")
    if count is None:
        return None
    rate = f"{100 * count / part['count']:.1f} %" if count and part.get("count") else ""
    return {"value": text(count), "range": rate}


def _said(part: Scores, columns: Sequence[Mapping[str, Any]]) -> str:
    """A description of the bar for screen readers."""
    words = [f"score {number(_value(part.get('score')))} %"]
    for column in columns:
        value = number(_value(_score_in(part, column)))
        if value and (column.get("control") or column["key"] in _LINES):
            words.append(f"{_LINES.get(column['key'], column['name'])} {value} %")
    return ", ".join(words)


_LINES = {
    "neighbour": "answer of the nearest training prompt",
    "majority": "most frequent answer",
    "chance": "chance",
}
"""Descriptions of the lines on the bar; the last line is drawn on top."""


def _bar(part: Scores, marks: Sequence[str]) -> dict[str, Any]:
    """Positions on the bar of a score: the score, its interval, and a line or marker for each other way to answer."""
    lines = [(key, _place(part.get(key))) for key in _LINES]
    of_controls = _of(part, "controls")
    placed = [(mark, _place(of_controls.get(name))) for mark, name in enumerate(marks)]

    score = part["score"]
    return {
        "score": _place(score),
        "low": _place(score["low"]),
        "high": _place(score["high"]),
        "lines": list(filter(_is_placed, lines)),
        "controls": list(filter(_is_placed, placed)),
    }


def _is_placed(line: tuple[Any, float | None]) -> bool:
    return line[1] is not None


def _value(found: Mapping[str, float] | float | None) -> float | None:
    """The value of an estimate, which may be a plain number in evaluations of earlier versions."""
    return found.get("value") if isinstance(found, Mapping) else found


def _place(found: Mapping[str, float] | float | None) -> float | None:
    """The horizontal position on the bar of a share from 0 to 1; None if there is no finite share."""
    share = _value(found)
    if share is None or not math.isfinite(share):
        return None
    return round(_LEFT + _WIDTH * min(1.0, max(0.0, share)), 1)


def _further(task: Scores, notes: Sequence[str]) -> dict[str, Any]:
    """The other metrics of a task, and the main metric if it has totals or a signature."""
    names = []
    for name in _of(task, "metrics"):
        has_more = bool(_facts(task, name).get("totals") or _signature(task, name))
        if name != task.get("metric") or has_more:
            names.append(name)

    types = []
    for kind in _types(task):
        values = [estimate(_of(kind, "metrics").get(name), _unit(task, name)) for name in names]
        types.append({"name": kind.get("type", ""), "count": text(kind.get("count")), "values": values})

    return {
        "further": [_metric(task, name, notes) for name in names],
        "by_type": types if names and len(types) > 1 else [],
    }


def _metric(task: Scores, name: str, notes: Sequence[str]) -> dict[str, Any]:
    """One further metric of a task: its value, or the reason why it was not computed."""
    totals = _facts(task, name).get("totals") or {}

    return {
        "name": name.replace("_", " "),
        "value": estimate(task["metrics"][name], _unit(task, name)),
        "floor": number(_of(task, "floors").get(name), _unit(task, name)),
        "ceiling": number(_of(task, "ceilings").get(name), _unit(task, name)),
        "unit": _unit(task, name),
        "is_less": bool(_facts(task, name).get("less_is_better")),
        "signature": _signature(task, name),
        "totals": [(key.replace("_", " "), number(value)) for key, value in totals.items()],
        "why": "" if estimate(task["metrics"][name]) else _why(task["task"], name, notes),
    }


def _signature(task: Scores, metric: str) -> str:
    # Earlier versions stored signatures separately.
    return _facts(task, metric).get("signature") or _of(task, "signatures").get(metric) or ""


def _why(task: str, metric: str, notes: Sequence[str]) -> str:
    """The reason in the notes why a metric was not computed; empty if they have none."""
    start = f"{task}: {metric} was not computed: "
    for note in notes:
        if note.startswith(start):
            return note.removeprefix(start)
    return ""


def _calibration(found: Scores | None) -> dict[str, Any] | None:
    """Numbers and drawings that show how well confidence matches correctness; None without calibration data."""
    if not found:
        return None
    from markupsafe import Markup

    bins = []
    for one in found["bins"]:
        bins.append((text(one["count"]), number(one["confidence"]), number(one["accuracy"])))

    return {
        "sentence": certainty.sentence(found["selection"]),
        "error": number(found["ece_equal_mass"]),
        "error_width": number(found["ece_equal_width"]),
        "brier": f"{found['brier']:.3f}",
        "area": f"{found['curve']['area']:.3f}",
        "sure": number(found["confidence"]),
        "right": number(found["accuracy"]),
        "bins": bins,
        # Markup is safe here, because the drawings contain only numbers.
        "reliability": Markup(certainty.reliability(found["bins"])),
        "risk": Markup(certainty.risk(found["curve"], found["selection"])),
    }
