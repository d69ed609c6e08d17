"""Draws the training history as SVG curves with the page's colours. The drawings contain no text from users."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightweave.pages.drawing import Axis, Chart, linear, logarithmic

MAX_POINTS = 400
"""Maximum number of points of a line; longer histories are averaged over equal stretches."""
_VALIDATION = "validation_"
"""Prefix of the names of validation results, which have few points over the same samples and are therefore not smoothed."""
_LOG_SPREAD = 20
"""Ratio of the largest loss to the smallest above which the loss gets a logarithmic axis."""

_PANELS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("Loss", lambda key: key == "loss" or key.endswith("_loss") or key.startswith("loss_")),
    (
        "Learning rate",
        lambda key: key in ("lr", "learning_rate") or key.startswith(("lr_", "learning_rate_")),
    ),
    ("Validation scores", lambda key: key.startswith("validation_score_")),
    ("Gradient norm", lambda key: key in ("grad_norm", "gradient_norm")),
    ("Gradient norm by part", lambda key: key.startswith("grad_norm_")),
    ("Update ratio by part", lambda key: key.startswith("update_ratio_")),
    ("Tokens per second", lambda key: key == "tokens_per_second"),
)


@dataclass(frozen=True, slots=True)
class Panel:
    """A drawing of the training history, with its title and the texts around it."""

    title: str
    series: tuple[str, ...]
    """Names of the lines; line i has class ``series<i>``."""
    last: tuple[float, ...]
    """The last value of each line, smoothed as in the drawing."""
    svg: str
    is_log: bool
    stages: tuple[tuple[str, int, int], ...]
    """Name, first step and last step of each stage, in order."""


def panels(history: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Draws one panel each for losses, learning rate, scores, gradient norms and speed, if the history has them.

    Args:
        history: Rows with ``step``, optionally ``stage``, and numbers. If steps go back within a stage (a run was
            resumed), the older rows are dropped. If a new stage restarts the step count, it is drawn after the previous
            one.
    """
    rows = _in_order(history)
    if len(rows) < 2:
        return []

    points_of = _points_by_key(rows)
    stages = _stages(rows)
    found = []
    for title, belongs in _PANELS:
        keys = [key for key, points in points_of.items() if belongs(key) and len(points) > 1]
        lines = {key: points_of[key] for key in keys[:_MAX_LINES]}
        if lines:
            found.append(_panel(title, lines, stages, is_smooth=title != "Learning rate"))
    return found


_MAX_LINES = 4
"""Maximum number of lines in a panel."""


def _points_by_key(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Step and value of every number in the history, as a list of points for each key."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for key, value in row.items():
            if _is_number(value):
                found.setdefault(key, []).append((row["_at"], float(value)))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _in_order(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with a step number ``_at`` that increases over all stages; see `panels` for steps that go back."""
    rows: list[dict[str, Any]] = []
    offset = 0
    for row in history:
        if not _is_number(row.get("step")):
            continue

        at = int(row["step"]) + offset
        if rows and at < rows[-1]["_at"]:
            name = str(row.get("stage", rows[-1]["stage"]))
            if any(old["stage"] == name for old in rows):  # the run was resumed
                while rows and rows[-1]["_at"] >= at:
                    rows.pop()
            else:
                offset = rows[-1]["_at"]
                at = int(row["step"]) + offset

        stage = row.get("stage", rows[-1]["stage"] if rows else "")
        rows.append({**row, "stage": str(stage), "_at": at})
    return rows


def _stages(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, int, int], ...]:
    """Name, first step and last step of each stage."""
    found: list[tuple[str, int, int]] = []
    for row in rows:
        name = row["stage"]
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1], row["_at"])
        else:
            found.append((name, row["_at"], row["_at"]))
    return tuple(found)


def _thin(points: Sequence[tuple[float, float]]) -> np.ndarray:
    """At most `MAX_POINTS` points as float64 2 P, each the mean of an equal stretch of the input."""
    values = np.array(points, dtype=np.float64).T
    stretches = np.array_split(values, min(MAX_POINTS, values.shape[1]), axis=1)
    return np.stack([stretch.mean(axis=1) for stretch in stretches], axis=1)


def _smooth(values: np.ndarray, window: float) -> np.ndarray:
    """Exponential moving average over about ``window`` points, corrected for its bias towards 0 at the start."""
    keep = 1 - 1 / window
    total = weight = 0.0
    result = []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        result.append(total / weight)
    return np.array(result)


def _panel(
    title: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    stages: Sequence[tuple[str, int, int]],
    *,
    is_smooth: bool,
) -> Panel:
    """Draws one panel; each line is smoothed and drawn separately in each stage."""
    # Fit the axes to the values of all lines.
    everything: list[float] = []
    for points in lines.values():
        everything += [value for _, value in points]
    is_log = title == "Loss" and min(everything) > 0 and max(everything) / min(everything) > _LOG_SPREAD
    ends = stages[0][1], stages[-1][2]
    chart = Chart(x=linear(*ends, ticks=6, whole=True), y=_values_axis(title, everything, is_log=is_log))

    # Draw a dashed line at the start of each stage, then the curves.
    for _, start, _ in stages[1:]:
        chart.vertical(start)
    last = []
    for number, (key, points) in enumerate(lines.items()):
        smooths = is_smooth and not key.startswith(_VALIDATION)
        window = max(3.0, min(len(points), MAX_POINTS) / 40)
        for _, start, end in stages:
            inside = [point for point in points if start <= point[0] <= end]
            if not inside:
                continue

            steps, values = _thin(inside)
            drawn = values
            if smooths:
                # On a logarithmic axis, average the logarithms; otherwise one high value at the start of a stage would
                # lift the rest of the line.
                drawn = np.exp(_smooth(np.log(values), window)) if is_log else _smooth(values, window)
            if smooths and number == 0 and all(name.startswith(_VALIDATION) for name in list(lines)[1:]):
                chart.line(zip(steps, values, strict=True), "trail", width=0.8)
            chart.line(zip(steps, drawn, strict=True), f"series{number}", width=1.5)
        last.append(float(drawn[-1]))

    return Panel(title, tuple(lines), tuple(last), chart.svg(), is_log, tuple(stages))


def _values_axis(title: str, values: Sequence[float], *, is_log: bool) -> Axis:
    """The vertical axis, with some space around the values; the axes of loss and speed start at 0."""
    low, high = min(values), max(values)
    if is_log:
        return logarithmic(low / 1.1, high * 1.1)
    room = 0.05 * (high - low)
    if title == "Tokens per second":
        return linear(0.0, high + room, words=_in_thousands)
    return linear(min(0.0, low) if title == "Loss" else low - room, high + room)


def _in_thousands(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
