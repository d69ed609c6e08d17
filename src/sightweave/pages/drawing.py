"""Draws charts as SVG that inherits its colours and text size from the page.

The pages need only lines, dots and ticks, so these are written directly: a plotting library would take a hundred times
as long per chart. Colours are classes (``ink-stroke``, ``series0-fill``), so that one chart works in light and dark
themes and in print. No element has a style attribute, which the page's policy forbids, or an id, which two charts would
share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 324.0, 168.0
"""Width and height of a chart in its own units; a page may show it at any size."""
LETTER = 6.4
"""Width reserved for a letter, based on the larger text on phones."""
_LINE = 14.0
"""Height reserved for a line of text."""
_MARGIN = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A range of numbers along one side of a chart."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    """One label for each tick."""
    is_log: bool = False

    def share(self, value: float) -> float:
        """The relative position of a value on the axis: 0 at `low`, 1 at `high`."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear(
    low: float,
    high: float,
    *,
    ticks: int = 5,
    whole: bool = False,
    words: Callable[[float], str] = "{:.10g}".format,
) -> Axis:
    """Creates an axis with about `ticks` round ticks; only at whole numbers if `whole` is set.

    An empty range is widened, so that a single value can be drawn.
    """
    if not high > low:
        spare = 0.1 * abs(low) or 1.0
        low, high = low - spare, high + spare

    step = _round_up((high - low) / ticks)
    if whole:
        step = max(1.0, step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    at = tuple(number * step for number in range(first, last + 1))
    return Axis(low=low, high=high, ticks=at, labels=tuple(map(words, at)))


def logarithmic(low: float, high: float, *, ticks: int = 8) -> Axis:
    """Creates a logarithmic axis for positive numbers, with ticks at 1, 2 and 5 in each decade, or fewer."""
    if not high > low:
        low, high = low / 2, high * 2

    for digits in ((1, 2, 5), (1, 3), (1,)):
        at = _decade_ticks(low, high, digits)
        if len(at) <= ticks:
            break
    else:
        at = at[:: math.ceil(len(at) / ticks)]
    return Axis(low=low, high=high, ticks=tuple(at), labels=tuple(map("{:g}".format, at)), is_log=True)


def _decade_ticks(low: float, high: float, digits: Sequence[int]) -> list[float]:
    """The products of these digits and powers of ten that are within the range."""
    found = []
    for decade in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        ticks = [digit * 10.0**decade for digit in digits]
        found += [tick for tick in ticks if low <= tick <= high]
    return found


def _round_up(step: float) -> float:
    """The smallest number of at least `step` that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    for digit in (1, 2, 5):
        if digit * power >= step * (1 - 1e-9):
            return digit * power
    return 10 * power


@dataclass(slots=True, kw_only=True)
class Chart:
    """A chart of lines and dots with a horizontal and a vertical axis."""

    x: Axis
    y: Axis
    x_label: str = ""
    y_label: str = ""
    _marks: list[str] = field(default_factory=list)
    _frame: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Left, right, top and bottom of the area inside the axes."""

    def __post_init__(self) -> None:
        widest = max(map(len, self.y.labels), default=0)
        last = len(self.x.labels[-1]) if self.x.labels else 0  # the last label may extend beyond the axis
        self._frame = (
            _MARGIN + LETTER * widest,
            WIDTH - max(_MARGIN, 0.5 * LETTER * last),
            _MARGIN + _LINE * bool(self.y_label),
            HEIGHT - _LINE * (1 + bool(self.x_label)),
        )

    def line(
        self, points: Iterable[tuple[float, float]], color: str, *, width: float, is_dashed: bool = False
    ) -> None:
        """Draws a line through points."""
        placed = []
        for point in points:
            x, y = self._at(*point)
            placed.append(f"{x:.1f} {y:.1f}")
        if placed:
            self._marks.append(stroke(f"M{'L'.join(placed)}", color, width=width, is_dashed=is_dashed))

    def dot(self, point: tuple[float, float], color: str, *, radius: float = 2.2) -> None:
        """Draws a dot at a point."""
        x, y = self._at(*point)
        self._marks.append(dot(x, y, color, radius=radius))

    def vertical(self, x: float) -> None:
        """Draws a dashed line from bottom to top."""
        self.line([(x, self.y.low), (x, self.y.high)], "faint", width=0.7, is_dashed=True)

    def horizontal(self, y: float) -> None:
        """Draws a dashed line from left to right."""
        self.line([(self.x.low, y), (self.x.high, y)], "faint", width=0.8, is_dashed=True)

    def svg(self) -> str:
        """Returns the chart as an SVG element with its grid, ticks and labels."""
        left, right, _, bottom = self._frame
        around = []
        for value, label in zip(self.y.ticks, self.y.labels, strict=True):
            _, y = self._at(self.x.low, value)
            around.append(stroke(f"M{left:.1f} {y:.1f}H{right:.1f}", "band", width=0.7))
            around.append(text(left - 4, y + 2.7, label, anchor="end"))

        around.append(stroke(f"M{left:.1f} {bottom:.1f}H{right:.1f}", "faint", width=0.8))
        for value, label in zip(self.x.ticks, self.x.labels, strict=True):
            x, _ = self._at(value, self.y.low)
            around.append(text(x, bottom + 11, label, anchor="middle"))

        if self.x_label:
            around.append(text(right, HEIGHT - 3, self.x_label, anchor="end"))
        if self.y_label:
            around.append(text(2, 9, self.y_label))
        return svg([*around, *self._marks], WIDTH, HEIGHT)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        """The position of a point in the drawing, where y increases from top to bottom."""
        left, right, top, bottom = self._frame
        return left + (right - left) * self.x.share(x), bottom - (bottom - top) * self.y.share(y)


def svg(parts: Sequence[str], width: float, height: float) -> str:
    """Joins parts into one SVG element, hidden from screen readers because the page has the same content as text."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" aria-hidden="true">'
    return "\n".join([head, *parts, "</svg>"])


def stroke(path: str, color: str, *, width: float, is_dashed: bool = False) -> str:
    """An SVG path in one of the page's colours."""
    dashes = ' stroke-dasharray="3 3"' if is_dashed else ""
    return f'<path class="{color}-stroke" d="{path}" fill="none" stroke-width="{width:g}" stroke-linejoin="round"{dashes}/>'


def dot(x: float, y: float, color: str, *, radius: float = 2.2) -> str:
    """An SVG circle in one of the page's colours."""
    return f'<circle class="{color}-fill" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"/>'


def text(x: float, y: float, words: str, *, anchor: str = "start", color: str = "ink") -> str:
    """An SVG text element with escaped text."""
    return f'<text class="{color}-fill" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
