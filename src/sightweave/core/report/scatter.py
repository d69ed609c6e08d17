"""Scores against their cost, a panel for each task: for a page, and as a picture of its own.

Each point has its name in a column at the right and a line to it, so that names never lie on one another.
Names come from recipes: they are drawn as they are, never read as formulas, and escaped.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightweave.core import files
from sightweave.core.report.drawing import COLOR, SIZE, drawing

_LINE = 0.14
"""Inches of height that one name takes."""
_AROUND = 0.75
"""Inches of height above and below the axes."""
_WIDE = 5.6
"""Inches of width: the axes, and a column of names."""
_MAX_NAME = 40
"""Characters of a name; longer ones are cut."""
_COLUMNS = 2
"""Panels beside one another in the picture."""
_TITLE = 22
"""Units of height above a panel in the picture."""
_GAP = 14
_SVG = "http://www.w3.org/2000/svg"
_STYLE = """
text { font-family: system-ui, "Liberation Sans", Arial, sans-serif; }
.ink-fill { fill: #4a4f55; } .ink-stroke { stroke: #4a4f55; } .faint-fill { fill: #8a9097; }
.faint-stroke { stroke: #8a9097; } .band-fill { fill: #e4e4df; } .band-stroke { stroke: #e4e4df; }
.series0-fill { fill: #2a5d8f; } .series0-stroke { stroke: #2a5d8f; } .series1-fill { fill: #b7791f; }
.series1-stroke { stroke: #b7791f; }
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


def panel(
    title: str, points: Sequence[Point], *, cost: str, score: str, prefix: str, least: float | None = None
) -> Panel:
    """Draws one task.

    Args:
        title: What stands above.
        points: One for each composition; the baseline has another colour.
        cost: What the axis to the right is, such as ``minutes of training``.
        score: What the axis upwards is.
        prefix: Of the ids inside the drawing.
        least: The lowest score that there can be.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    height = max(SIZE[1], _AROUND + _LINE * len(points))
    with drawing(prefix) as drawn_on:
        axes = drawn_on.axes
        axes.figure.set_size_inches(_WIDE, height)
        for point in points:
            color = COLOR["series1" if point.is_baseline else "series0"]
            across, up = (point.least_cost, point.most_cost), (point.low, point.high)
            axes.plot(across, [point.score] * 2, color=color, linewidth=1.0)
            axes.plot([point.cost] * 2, up, color=color, linewidth=1.0)
            axes.plot([point.cost], [point.score], color=color, marker="o", markersize=4.5)
        bottom, top = axes.get_ylim()
        bottom = bottom if least is None else max(bottom, least - 0.02 * (top - least))
        axes.set_ylim(bottom, top)
        shares = [(point.score - bottom) / (top - bottom) for point in points]
        for point, share in zip(points, spread(shares, _LINE / (height - _AROUND)), strict=True):
            axes.annotate(
                point.name if len(point.name) <= _MAX_NAME else f"{point.name[: _MAX_NAME - 3]}...",
                xy=(point.cost, point.score),
                xytext=(1.04, share),
                textcoords="axes fraction",
                verticalalignment="center",
                color=COLOR["ink"],
                arrowprops={
                    "arrowstyle": "-",
                    "color": COLOR["faint"],
                    "linewidth": 0.5,
                    "shrinkB": 4,
                    "relpos": (0, 0.5),
                },
                annotation_clip=False,
                parse_math=False,
            )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel(cost, color=COLOR["ink"], parse_math=False)
        axes.set_ylabel(score, color=COLOR["ink"], parse_math=False)
    return Panel(title=title, svg=drawn_on.svg)


def spread(wanted: Sequence[float], gap: float, *, low: float = 0.0, high: float = 1.0) -> list[float]:
    """The nearest heights to the wanted ones, in the same order, that are `gap` apart and stay between the ends.

    Where there is no room for such gaps, they are as large as there is room for.
    """
    if len(wanted) > 1:
        gap = min(gap, (high - low) / (len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda number: wanted[number])
    # Groups of names that touch: each takes the mean place that its names want.
    groups: list[tuple[list[int], float]] = []
    for number in order:
        members, start = [number], wanted[number]
        while True:
            start = min(max(start, low), high - gap * (len(members) - 1))
            if not groups or groups[-1][1] + gap * len(groups[-1][0]) <= start + 1e-12:
                break
            members = groups.pop()[0] + members
            start = sum(wanted[one] - gap * place for place, one in enumerate(members)) / len(members)
        groups.append((members, start))
    found = [0.0] * len(wanted)
    for members, start in groups:
        for place, one in enumerate(members):
            found[one] = start + gap * place
    return found


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
                whole, f"{{{_SVG}}}text", {"x": f"{x:g}", "y": f"{y + 12:g}", "class": "ink-fill"}
            )
            name.set("font-size", "11")
            name.set("font-weight", "600")
            name.text = title.title
            places = {"x": x, "y": y + _TITLE, "width": wide, "height": tall}
            one.attrib.update({key: f"{value:g}" for key, value in places.items()})
            whole.append(one)
            x += wide + _GAP
        y += max(tall for _, tall in line) + _TITLE + _GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as stream:
        ElementTree.ElementTree(whole).write(stream, encoding="utf-8", xml_declaration=True)
