"""What an evaluation found -> the rows and words of a page.

Evaluations that were written by earlier versions have fewer fields: what is missing is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightweave.core.report import certainty
from sightweave.core.report.values import SHARE, estimate, number, p_value, text

CONTROL_NAMES = {"no_image": "no image", "shuffled_image": "wrong image", "blank_image": "grey image"}
_LEFT, _WIDTH = 6, 200
"""Where the bar of a score starts, and how long 100 % are."""
_NEAR = 2
"""Controls that stand beside the score; further ones stand last, since a reader may have to scroll for them."""

Scores = Mapping[str, Any]


def sentences(evaluations: Sequence[Scores]) -> list[dict[str, str]]:
    """For each split the one sentence that says most."""
    return [
        {
            "split": _split(found),
            "verdict": found.get("uses_image", "unknown"),
            "text": found["sentence"],
        }
        for found in evaluations
        if found.get("sentence")
    ]


def glance(evaluations: Sequence[Scores]) -> list[dict[str, Any]]:
    """One entry per task with its headline of each split."""
    told: dict[str, list[dict[str, Any]]] = {}
    for found in evaluations:
        for task in _tasks(found):
            unit = _unit(task)
            over = task.get("gain_over") or "no_image"
            if score := estimate(task.get("score"), unit):
                told.setdefault(task["task"], []).append(
                    {
                        "split": _split(found),
                        "unit": unit,
                        "score": score,
                        "blind": estimate(_of(task, "controls").get(over), unit),
                        "blind_name": control_name(over),
                        "verdict": task.get("uses_image", "unknown"),
                    }
                )
    return [{"task": name, "splits": splits} for name, splits in told.items()]


def controls(evaluations: Sequence[Scores]) -> list[str]:
    """Names of all controls of all splits, in the order that gives them their marks."""
    parts = [part for found in evaluations for task in _tasks(found) for part in (task, *_types(task))]
    return list(dict.fromkeys(name for part in parts for name in _of(part, "controls")))


def control_name(name: str) -> str:
    """What a reader is told of a control."""
    return CONTROL_NAMES.get(name, name.replace("_", " "))


def evaluation(found: Scores, number_: int, marks: Sequence[str]) -> dict[str, Any]:
    """One split: its tables and its drawings.

    Args:
        found: As ``Evaluation.to_json`` gives it.
        number_: Of the split on the page; ids of drawings start with it.
        marks: Controls in the order of their marks.
    """
    tasks = _tasks(found)
    parts = [part for task in tasks for part in (task, *_types(task))]
    columns = [
        column for column in _columns(controls([found]), marks) if any(_has(part, column) for part in parts)
    ]
    return {
        "split": _split(found),
        "count": text(found.get("count")),
        "pictures": _pictures(found),
        "notes": found.get("notes", ()),
        "columns": columns,
        "has_options": any(_has(part, {"key": "chance"}) for part in parts),
        "has_neighbour": any(_has(part, {"key": "neighbour"}) for part in parts),
        "tasks": [
            {
                "name": task["task"],
                "metric": str(task.get("metric", "")).replace("_", " "),
                "unit": "per cent" if _unit(task) == SHARE else _unit(task),
                "verdict": task.get("uses_image", "unknown"),
                "sentence": task.get("sentence", ""),
                "rows": _rows(task, columns, marks),
                **_further(task, found.get("notes", ())),
                "calibration": _calibration(task.get("calibration"), f"c{number_}-{place}-"),
            }
            for place, task in enumerate(tasks)
        ],
    }


def _split(found: Scores) -> str:
    return found.get("split") or "evaluation"


def _pictures(found: Scores) -> str:
    """How many images were asked about, and of how many they were drawn."""
    asked, total = found.get("pictures"), found.get("pictures_total")
    return text(asked) if total is None else f"{text(asked)} of {text(total)}"


def _tasks(found: Scores) -> Sequence[Scores]:
    return found.get("tasks") or ()


def _types(task: Scores) -> Sequence[Scores]:
    return task.get("types") or ()


def _of(part: Scores, key: str) -> Mapping[str, Any]:
    return part.get(key) or {}


def _facts(task: Scores, metric: str) -> Mapping[str, Any]:
    return _of(task, "facts").get(metric) or {}


def _unit(task: Scores, metric: str | None = None) -> str:
    return str(_facts(task, metric or task.get("metric", "")).get("unit", SHARE))


def _columns(names: Sequence[str], marks: Sequence[str]) -> list[dict[str, Any]]:
    """Columns after the score, in the order in which they stand beside it."""
    told = [
        {"key": name, "name": control_name(name), "control": True, "mark": marks.index(name)}
        for name in names
    ]
    return [
        {"key": "chance", "name": "chance"},
        {"key": "majority", "name": "majority"},
        {"key": "neighbour", "name": "text only"},
        *told[:_NEAR],
        {"key": "gain", "name": "gain"},
        {"key": "leakage", "name": "leakage"},
        {"key": "detectable", "name": "detectable"},
        {"key": "unparsed", "name": "unparsed"},
        *told[_NEAR:],
    ]


def _has(part: Scores, column: Mapping[str, Any]) -> bool:
    found = _of(part, "controls") if column.get("control") else part
    return found.get(column["key"]) is not None


def _rows(task: Scores, columns: Sequence[Mapping[str, Any]], marks: Sequence[str]) -> list[dict[str, Any]]:
    """The mean over the types and each of them; a single type is its own mean."""
    types, unit = _types(task), _unit(task)
    if len(types) == 1:
        # The task knows more (its leakage), and the type names the answer that is most frequent.
        merged = {"majority_answer": types[0].get("majority_answer", ""), **task}
        return [_row(merged, columns, marks, types[0].get("type") or task["task"], unit, is_task=True)]
    name = f"mean of {len(types)} types" if types else task["task"]
    total = _row(task, columns, marks, name, unit, is_task=True)
    return [total, *(_row(kind, columns, marks, kind.get("type", ""), unit) for kind in types)]


def _row(
    part: Scores,
    columns: Sequence[Mapping[str, Any]],
    marks: Sequence[str],
    name: str,
    unit: str,
    *,
    is_task: bool = False,
) -> dict[str, Any]:
    return {
        "name": name,
        "is_task": is_task,
        "count": text(part.get("count")),
        "score": estimate(part.get("score"), unit),
        "cells": [_cell(part, column, unit) for column in columns],
        "said": _said(part, columns),
        "bar": _bar(part, marks) if unit == SHARE and estimate(part.get("score")) else None,
    }


def _cell(part: Scores, column: Mapping[str, Any], unit: str) -> dict[str, Any]:
    key = column["key"]
    cell: dict[str, Any] = {"name": column["name"], "value": "", "small": [], "title": ""}
    if column.get("control"):
        found = estimate(_of(part, "controls").get(key), unit)
    elif key in ("gain", "leakage"):
        found = estimate(part.get(key), unit, is_signed=True)
    elif key == "unparsed":
        found = _unparsed(part)
    else:
        found = estimate(part.get(key), unit)
    if found is None:
        return cell
    small = [found["range"], p_value(part.get("gain_p")) if key == "gain" else ""]
    if key == "majority" and part.get("majority_answer"):
        cell["title"] = f"always: {part['majority_answer']}"
    return {**cell, "value": found["value"], "small": [line for line in small if line]}


def _unparsed(part: Scores) -> dict[str, str] | None:
    count = part.get("unparsed")
    if count is None:
        return None
    rate = f"{100 * count / part['count']:.1f} %" if count and part.get("count") else ""
    return {"value": text(count), "range": rate}


def _said(part: Scores, columns: Sequence[Mapping[str, Any]]) -> str:
    """The bar in words."""
    words = [f"score {number(_value(part.get('score')))} %"]
    for column in columns:
        inside = _of(part, "controls") if column.get("control") else part
        value = number(_value(inside.get(column["key"])))
        if value and (column.get("control") or column["key"] in _LINES):
            words.append(f"{_LINES.get(column['key'], column['name'])} {value} %")
    return ", ".join(words)


_LINES = {
    "neighbour": "answer of the nearest training prompt",
    "majority": "most frequent answer",
    "chance": "chance",
}
"""Lines of the bar, in words; the last one is drawn on top."""


def _bar(part: Scores, marks: Sequence[str]) -> dict[str, Any]:
    score = part["score"]
    placed = [(n, _place(_of(part, "controls").get(name))) for n, name in enumerate(marks)]
    return {
        "score": _place(score),
        "low": _place(score["low"]),
        "high": _place(score["high"]),
        "lines": [(key, place) for key in _LINES if (place := _place(part.get(key))) is not None],
        "controls": [(n, place) for n, place in placed if place is not None],
    }


def _value(found: Mapping[str, float] | float | None) -> float | None:
    return found.get("value") if isinstance(found, Mapping) else found


def _place(found: Mapping[str, float] | float | None) -> float | None:
    """Where a share from 0 to 1 stands on the bar; None where there is none."""
    share = _value(found)
    if share is None or not math.isfinite(share):
        return None
    return round(_LEFT + _WIDTH * min(1.0, max(0.0, share)), 1)


def _further(task: Scores, notes: Sequence[str]) -> dict[str, Any]:
    """The other metrics of a task, and the score's own where there is more to say of it."""
    names = [
        name
        for name in _of(task, "metrics")
        if name != task.get("metric") or _facts(task, name).get("totals") or _signature(task, name)
    ]
    further = [
        {
            "name": name.replace("_", " "),
            "value": estimate(task["metrics"][name], _unit(task, name)),
            "unit": _unit(task, name),
            "is_less": bool(_facts(task, name).get("less_is_better")),
            "signature": _signature(task, name),
            "totals": [
                (key.replace("_", " "), number(value))
                for key, value in (_facts(task, name).get("totals") or {}).items()
            ],
            "why": "" if estimate(task["metrics"][name]) else _why(task["task"], name, notes),
        }
        for name in names
    ]
    types = [
        {
            "name": kind.get("type", ""),
            "count": text(kind.get("count")),
            "values": [estimate(_of(kind, "metrics").get(name), _unit(task, name)) for name in names],
        }
        for kind in _types(task)
    ]
    return {"further": further, "by_type": types if names and len(types) > 1 else []}


def _signature(task: Scores, metric: str) -> str:
    # An earlier version kept signatures apart.
    return _facts(task, metric).get("signature") or _of(task, "signatures").get(metric) or ""


def _why(task: str, metric: str, notes: Sequence[str]) -> str:
    """The note that says why a metric was not computed."""
    start = f"{task}: {metric} was not computed: "
    return next((note.removeprefix(start) for note in notes if note.startswith(start)), "")


def _calibration(found: Scores | None, prefix: str) -> dict[str, Any] | None:
    if not found:
        return None
    from markupsafe import Markup

    return {
        "sentence": certainty.sentence(found["selection"]),
        "error": number(found["ece_equal_mass"]),
        "error_width": number(found["ece_equal_width"]),
        "brier": f"{found['brier']:.3f}",
        "area": f"{found['curve']['area']:.3f}",
        "sure": number(found["confidence"]),
        "right": number(found["accuracy"]),
        "bins": [
            (text(bin_["count"]), number(bin_["confidence"]), number(bin_["accuracy"]))
            for bin_ in found["bins"]
        ],
        # The drawings are ours and hold numbers only.
        "reliability": Markup(certainty.reliability(found["bins"], f"{prefix}b-")),
        "risk": Markup(certainty.risk(found["curve"], found["selection"], f"{prefix}r-")),
    }
