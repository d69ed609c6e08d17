"""What an evaluation found -> the rows and words of a page.

Evaluations that were written by earlier versions have fewer fields: what is missing is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightweave.core.verdicts import HARDLY, NO, NOT_NEEDED, UNKNOWN, YES, use_of_image
from sightweave.pages import certainty
from sightweave.pages.values import SHARE, estimate, number, p_value, text

CONTROL_NAMES = {"no_image": "no image", "shuffled_image": "wrong image", "blank_image": "grey image"}
BASELINE_NAMES = {"majority": "majority", "neighbour": "text only"}
_LEFT, _WIDTH = 6, 200
"""Where the bar of a score starts, and how long 100 % are."""
_TOGETHER = 6
"""Controls and baselines in one table; further ones are in the next."""

Scores = Mapping[str, Any]


def can(evaluations: Sequence[Scores]) -> list[dict[str, Any]]:
    """What a model can do: for each split its headline, and one line per task."""
    return [
        {
            "split": _split(found),
            "count": text(found.get("count")),
            "pictures": _pictures(found),
            "verdict": found.get("uses_image", "unknown"),
            "headline": found.get("sentence", ""),
            "tasks": [_line(task) for task in _tasks(found) if estimate(task.get("score"), _unit(task))],
        }
        for found in evaluations
    ]


def _line(task: Scores) -> dict[str, Any]:
    """One task: its score, the best that was reached without looking, and what that says."""
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
    shown = use_of_image(task.get("uses_image", UNKNOWN), needs_image=task.get("needs_image", True))
    return shown if shown in _SAYS else UNKNOWN


def _best_rival(task: Scores) -> tuple[str, float | None]:
    """The best way to answer without looking at the image, and what it scores."""
    controls_ = _of(task, "controls")
    # Evaluations of earlier versions name one control at most.
    names = _of(task, "gains") or [task.get("gain_over") or "no_image"]
    reached = {
        name: _value(task.get(name) if name in BASELINE_NAMES else controls_.get(name)) for name in names
    }
    known = [(value, name) for name, value in reached.items() if value is not None]
    best, name = max(known, default=(None, ""))
    return name, best


def _short_bar(task: Scores, reached: float | None) -> dict[str, Any]:
    score = task["score"]
    ends = {end: _place(score.get(end)) if isinstance(score, Mapping) else None for end in ("low", "high")}
    return {"score": _place(score), **ends, "reached": _place(reached)}


def controls(evaluations: Sequence[Scores]) -> list[str]:
    """Names of all controls of all splits, in the order that gives them their marks."""
    parts = [part for found in evaluations for task in _tasks(found) for part in (task, *_types(task))]
    return list(dict.fromkeys(name for part in parts for name in _of(part, "controls")))


def control_name(name: str) -> str:
    """What a reader is told of a control."""
    return CONTROL_NAMES.get(name, name.replace("_", " "))


def rival_name(name: str) -> str:
    """What a reader is told of a control or of a baseline."""
    return BASELINE_NAMES.get(name) or control_name(name)


def evaluation(found: Scores, marks: Sequence[str]) -> dict[str, Any]:
    """One split: its tables and its drawings.

    Args:
        found: As ``Evaluation.to_json`` gives it.
        marks: Controls in the order of their marks.
    """
    tasks = _tasks(found)
    parts = [part for task in tasks for part in (task, *_types(task))]
    columns = [column for column in _COLUMNS if any(_has(part, column) for part in parts)]
    others = [column for column in _others(controls([found]), marks) if any(_has(p, column) for p in parts)]
    return {
        "split": _split(found),
        "count": text(found.get("count")),
        "pictures": _pictures(found),
        "notes": found.get("notes", ()),
        "columns": columns,
        # As many columns beside one another as fit on any screen that shows a table at all.
        "others": [others[start : start + _TOGETHER] for start in range(0, len(others), _TOGETHER)],
        "has_options": any(_has(part, {"key": "chance"}) for part in parts),
        "has_neighbour": any(_has(part, {"key": "neighbour"}) for part in parts),
        "tasks": [
            {
                "name": task["task"],
                "metric": str(task.get("metric", "")).replace("_", " "),
                "unit": "per cent" if _unit(task) == SHARE else _unit(task),
                "verdict": _use(task),
                "sentence": task.get("sentence", ""),
                "rows": _rows(task, columns, others, marks),
                **_further(task, found.get("notes", ())),
                "calibration": _calibration(task.get("calibration")),
            }
            for task in tasks
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


_COLUMNS: tuple[Mapping[str, Any], ...] = (
    {"key": "gain", "name": "gain"},
    {"key": "leakage", "name": "leakage"},
    {"key": "detectable", "name": "detectable"},
    {"key": "unparsed", "name": "unparsed"},
)
"""What stands beside the score."""


def _others(names: Sequence[str], marks: Sequence[str]) -> list[Mapping[str, Any]]:
    """Columns for what was reached in other ways: baselines, and controls with their marks."""
    told = [
        {"key": name, "name": control_name(name), "control": True, "mark": marks.index(name)}
        for name in names
    ]
    return [
        {"key": "chance", "name": "chance"},
        *({"key": key, "name": name} for key, name in BASELINE_NAMES.items()),
        *told,
    ]


def _has(part: Scores, column: Mapping[str, Any]) -> bool:
    found = _of(part, "controls") if column.get("control") else part
    return found.get(column["key"]) is not None


def _rows(
    task: Scores,
    columns: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]],
    marks: Sequence[str],
) -> list[dict[str, Any]]:
    """The mean over the types and each of them; a single type is its own mean."""
    types, unit = _types(task), _unit(task)
    name = f"mean of {len(types)} types" if types else task["task"]
    parts = [(task, name, True), *((kind, kind.get("type", ""), False) for kind in types)]
    if len(types) == 1:
        # The task knows more (its leakage), and the type names the answer that is most frequent.
        merged = {"majority_answer": types[0].get("majority_answer", ""), **task}
        parts = [(merged, types[0].get("type") or task["task"], True)]
    return [
        {
            "name": shown,
            "is_task": is_task,
            "count": text(part.get("count")),
            "score": estimate(part.get("score"), unit),
            "cells": [_cell(part, column, unit) for column in columns],
            "others": [_cell(part, column, unit) for column in others],
            "said": _said(part, others),
            "bar": _bar(part, marks) if unit == SHARE and estimate(part.get("score")) else None,
        }
        for part, shown, is_task in parts
    ]


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


def _calibration(found: Scores | None) -> dict[str, Any] | None:
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
        "reliability": Markup(certainty.reliability(found["bins"])),
        "risk": Markup(certainty.risk(found["curve"], found["selection"])),
    }
