"""Draws scores next to costs, with a row for each composition, for a page and as an SVG file.

A row has a name, the score with its interval, and the cost with its range. Names never overlap, however close the
scores are. Names come from recipes, so they are escaped.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightweave.core import files
from sightweave.pages.drawing import WIDTH, Axis, dot, linear, stroke, svg, text

_ROW = 26.0
"""Height of one composition's row: a line for its name, and one for its marks."""
_HEAD = 30.0
"""Height of the area above the first row, with the label and the ticks of each column."""
_SCORE = (8.0, 196.0)
_COST = (224.0, 316.0)
"""Left and right end of the cost column; `_SCORE` has those of the score column."""
_MAX_NAME = 40
"""Maximum number of characters of a name; longer names are cut."""
_COLUMNS = 2
"""Number of panels per row of the SVG file."""
_TITLE = 22
"""Height of the title above a panel in the SVG file."""
_GAP = 14
"""Space between panels in the SVG file."""
_SVG = "http://www.w3.org/2000/svg"
_STYLE = """
text { font-family: system-ui, "Liberation Sans", Arial, sans-serif; font-size: 8.5px; }
.title { font-size: 11px; font-weight: 600; }
.ink-fill { fill: #4a4f55; } .strong-fill { fill: #1d2024; } .faint-stroke { stroke: #8a9097; }
.band-stroke { stroke: #e4e4df; } .series0-fill { fill: #2a5d8f; } .series0-stroke { stroke: #2a5d8f; }
.series1-fill { fill: #b7791f; } .series1-stroke { stroke: #b7791f; }
"""
"""Colours of the SVG file, which has no page to inherit them from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The score and the cost of one composition."""

    name: str
    cost: float
    least_cost: float
    most_cost: float
    """Highest cost of the composition's runs; `least_cost` is the lowest."""
    score: float
    low: float
    high: float
    """Upper end of the score's interval; `low` is the lower end."""
    is_baseline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A drawing with its title."""

    title: str
    svg: str


def panel(title: str, points: Sequence[Point], *, cost: str, score: str, least: float | None = None) -> Panel:
    """Draws the compositions of one task, with the best score at the top.

    Args:
        title: The panel's title.
        points: One for each composition; the baseline has another colour.
        cost: Label of the right column, such as ``minutes of training``.
        score: Unit of the scores.
        least: Lowest possible score; None if scores have no lower limit.
    """
    ordered = sorted(points, key=lambda point: -point.score)
    height = _HEAD + _ROW * len(ordered) + 2

    # The score axis spans the scores. The cost axis starts at 0, so that twice the cost looks twice as long.
    low = min(point.low for point in points)
    high = max(point.high for point in points)
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
    """Draws the label of a column, its ticks, and their lines down to the last row."""
    parts = [text(ends[0], 9, label)]
    for value, words in zip(axis.ticks, axis.labels, strict=True):
        x = _across(ends, axis, value)
        parts.append(stroke(f"M{x:.1f} {_HEAD - 7:.1f}V{height - 2:.1f}", "band", width=0.7))
        parts.append(text(x, _HEAD - 10, words, anchor="middle"))
    return parts


def _row(point: Point, top: float, scores: Axis, costs: Axis) -> list[str]:
    """Draws the name of a composition, and below it a dot with its interval in each column."""
    color = "series1" if point.is_baseline else "series0"
    name = point.name if len(point.name) <= _MAX_NAME else f"{point.name[: _MAX_NAME - 3]}..."
    y = top + 19

    parts = [text(_SCORE[0], top + 10, name, color="strong")]
    for ends, axis, low, value, high in (
        (_SCORE, scores, point.low, point.score, point.high),
        (_COST, costs, point.least_cost, point.cost, point.most_cost),
    ):
        left, right = _across(ends, axis, low), _across(ends, axis, high)
        parts.append(stroke(f"M{left:.1f} {y:.1f}H{right:.1f}", color, width=1.4))
        parts.append(dot(_across(ends, axis, value), y, color, radius=3))
    return parts


def _across(ends: tuple[float, float], axis: Axis, value: float) -> float:
    """The horizontal position of a value in a column."""
    share = min(1.0, max(0.0, axis.share(value)))
    return ends[0] + (ends[1] - ends[0]) * share


def write_picture(path: Path, panels: Sequence[Panel]) -> None:
    """Writes all panels as one SVG file with fixed colours on a white background."""
    ElementTree.register_namespace("", _SVG)
    placed, width, height = _placed(list(map(_Drawing.of, panels)))
    whole = ElementTree.Element(
        f"{{{_SVG}}}svg", width=f"{width:g}", height=f"{height:g}", viewBox=f"0 0 {width:g} {height:g}"
    )
    ElementTree.SubElement(whole, f"{{{_SVG}}}style").text = _STYLE
    ElementTree.SubElement(whole, f"{{{_SVG}}}rect", width="100%", height="100%", fill="#ffffff")

    for one, x, y in placed:
        corner = {"x": f"{x:g}", "y": f"{y + 12:g}", "class": "title strong-fill"}
        ElementTree.SubElement(whole, f"{{{_SVG}}}text", corner).text = one.title
        one.svg.attrib.update(
            {"x": f"{x:g}", "y": f"{y + _TITLE:g}", "width": f"{one.width:g}", "height": f"{one.height:g}"}
        )
        whole.append(one.svg)

    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as stream:
        ElementTree.ElementTree(whole).write(stream, encoding="utf-8", xml_declaration=True)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A panel's drawing, parsed, with its width and height."""

    title: str
    svg: ElementTree.Element
    width: float
    height: float

    @classmethod
    def of(cls, panel: Panel) -> _Drawing:
        """Parses the drawing of a panel."""
        drawn = ElementTree.fromstring(panel.svg)
        _, _, width, height = drawn.get("viewBox", "0 0 0 0").split()
        return cls(panel.title, drawn, float(width), float(height))


def _placed(drawings: Sequence[_Drawing]) -> tuple[list[tuple[_Drawing, float, float]], float, float]:
    """Lays out drawings in rows; returns each with its left and top position, and the total width and height."""
    placed = []
    columns = min(_COLUMNS, len(drawings))
    y = float(_GAP)
    for start in range(0, len(drawings), _COLUMNS):
        row = drawings[start : start + _COLUMNS]
        x = float(_GAP)
        for one in row:
            placed.append((one, x, y))
            x += one.width + _GAP
        y += max(one.height for one in row) + _TITLE + _GAP

    widest = max((one.width for one in drawings), default=0.0)
    return placed, columns * (widest + _GAP) + _GAP, y
