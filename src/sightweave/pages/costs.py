"""Scores beside what they cost, a row for each composition: for a page, and as a picture of its own.

A row has a name, the score with its interval, and the cost with its range. Names never meet, however close the scores
are, and nothing but the intervals looks like a line. Names come from recipes: they are drawn as they are, and escaped.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightweave.core import files
from sightweave.pages.drawing import WIDTH, Axis, dot, linear, stroke, svg, text

_ROW = 26.0
"""Units of height of one composition: a line for its name, and one for its marks."""
_HEAD = 30.0
"""Units of height above the first row: what each column is, and its ticks."""
_SCORE = (8.0, 196.0)
_COST = (224.0, 316.0)
"""Where the two columns begin and end."""
_MAX_NAME = 40
"""Characters of a name; longer ones are cut."""
_COLUMNS = 2
"""Panels beside one another in the picture."""
_TITLE = 22
"""Units of height above a panel in the picture."""
_GAP = 14
_SVG = "http://www.w3.org/2000/svg"
_STYLE = """
text { font-family: system-ui, "Liberation Sans", Arial, sans-serif; font-size: 8.5px; }
.title { font-size: 11px; font-weight: 600; }
.ink-fill { fill: #4a4f55; } .strong-fill { fill: #1d2024; } .faint-stroke { stroke: #8a9097; }
.band-stroke { stroke: #e4e4df; } .series0-fill { fill: #2a5d8f; } .series0-stroke { stroke: #2a5d8f; }
.series1-fill { fill: #b7791f; } .series1-stroke { stroke: #b7791f; }
"""
"""Colours of the picture, which has no page to take them from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One composition."""

    name: str
    cost: float
    least_cost: float
    most_cost: float
    """Of its runs."""
    score: float
    low: float
    high: float
    """The interval of the score."""
    is_baseline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One drawing with its title."""

    title: str
    svg: str


def panel(title: str, points: Sequence[Point], *, cost: str, score: str, least: float | None = None) -> Panel:
    """Draws one task, the best score first.

    Args:
        title: What stands above.
        points: One for each composition; the baseline has another colour.
        cost: What is to the right, such as ``minutes of training``.
        score: The unit of the scores.
        least: The lowest score that there can be.
    """
    ordered = sorted(points, key=lambda point: -point.score)
    height = _HEAD + _ROW * len(ordered) + 2

    # The scores have an axis that fits them; costs begin at 0, since twice as long must look so.
    low, high = min(point.low for point in points), max(point.high for point in points)
    room = 0.04 * (high - low)
    low = low - room if least is None else max(low - room, least)
    scores = linear(low, high + room, ticks=4)
    costs = linear(0.0, max(point.most_cost for point in points) or 1.0, ticks=2)

    parts = [
        *_column(_SCORE, scores, f"score, {score}", height),
        *_column(_COST, costs, cost, height),
    ]
    for number, point in enumerate(ordered):
        parts += _row(point, _HEAD + _ROW * number, scores, costs)
    return Panel(title=title, svg=svg(parts, WIDTH, height))


def _column(ends: tuple[float, float], axis: Axis, label: str, height: float) -> list[str]:
    """What a column is, its ticks, and their lines down to the last row."""
    parts = [text(ends[0], 9, label)]
    for value, words in zip(axis.ticks, axis.labels, strict=True):
        x = _across(ends, axis, value)
        parts.append(stroke(f"M{x:.1f} {_HEAD - 7:.1f}V{height - 2:.1f}", "band", width=0.7))
        parts.append(text(x, _HEAD - 10, words, anchor="middle"))
    return parts


def _row(point: Point, top: float, scores: Axis, costs: Axis) -> list[str]:
    """The name of a composition, and its marks below."""
    color = "series1" if point.is_baseline else "series0"
    name = point.name if len(point.name) <= _MAX_NAME else f"{point.name[: _MAX_NAME - 3]}..."
    y = top + 19
    parts = [text(_SCORE[0], top + 10, name, color="strong")]
    for ends, axis, low, value, high in (
        (_SCORE, scores, point.low, point.score, point.high),
        (_COST, costs, point.least_cost, point.cost, point.most_cost),
    ):
        left, middle, right = (_across(ends, axis, number) for number in (low, value, high))
        parts.append(stroke(f"M{left:.1f} {y:.1f}H{right:.1f}", color, width=1.4))
        parts.append(dot(middle, y, color, radius=3))
    return parts


def _across(ends: tuple[float, float], axis: Axis, value: float) -> float:
    share = min(1.0, max(0.0, axis.share(value)))
    return ends[0] + (ends[1] - ends[0]) * share


def write_picture(path: Path, panels: Sequence[Panel]) -> None:
    """Writes all panels as one SVG with fixed colours on a white ground."""
    ElementTree.register_namespace("", _SVG)
    columns = min(_COLUMNS, len(panels))
    drawn = [ElementTree.fromstring(one.svg) for one in panels]
    sizes = [tuple(float(x) for x in one.get("viewBox", "0 0 0 0").split()[2:]) for one in drawn]
    lines = [sizes[start : start + columns] for start in range(0, len(sizes), columns)]
    width = columns * (max((wide for wide, _ in sizes), default=0) + _GAP) + _GAP
    height = sum(max(tall for _, tall in line) + _TITLE + _GAP for line in lines) + _GAP
    whole = ElementTree.Element(
        f"{{{_SVG}}}svg", width=f"{width:g}", height=f"{height:g}", viewBox=f"0 0 {width:g} {height:g}"
    )
    ElementTree.SubElement(whole, f"{{{_SVG}}}style").text = _STYLE
    ElementTree.SubElement(whole, f"{{{_SVG}}}rect", width="100%", height="100%", fill="#ffffff")

    y = float(_GAP)
    for number, line in enumerate(lines):
        x = float(_GAP)
        for one, title, (wide, tall) in zip(
            drawn[columns * number :], panels[columns * number :], line, strict=False
        ):
            name = ElementTree.SubElement(
                whole, f"{{{_SVG}}}text", {"x": f"{x:g}", "y": f"{y + 12:g}", "class": "title strong-fill"}
            )
            name.text = title.title
            places = {"x": x, "y": y + _TITLE, "width": wide, "height": tall}
            one.attrib.update({key: f"{value:g}" for key, value in places.items()})
            whole.append(one)
            x += wide + _GAP
        y += max(tall for _, tall in line) + _TITLE + _GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as stream:
        ElementTree.ElementTree(whole).write(stream, encoding="utf-8", xml_declaration=True)
