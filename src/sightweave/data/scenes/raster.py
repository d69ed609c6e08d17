"""Renders drawings, given as text, into small colour textures, with integers only, so that all machines agree exactly.

A drawing has one command per line, on a square of 64 x 64 units (y points down); later commands paint over earlier ones::

    rim 2                              a dark outline of this width around everything (2 by default)
    oval red 32,36 20,18 15            centre, radii and, optionally, degrees clockwise
    rect blue 8,20 56,50               left,top and right,bottom
    poly white 4,4 60,4 32,50          a closed polygon
    blob brown 10,10 50,8 52,50 8,48   a closed smooth curve with these control points
    line ink 3 10,10 50,8              a stroke of this width
    bend ink 3 10,10 30,2 50,8         a smooth stroke
    arc ink 3 32,32 20,20 0,180        centre, radii, start and end in degrees, clockwise from the right

``both`` before a command draws the primitive and its mirror image; ``bare`` draws it without the outline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from sightweave.core.errors import DataError, did_you_mean

UNITS = 64
"""Side of a drawing in units."""
PAD = 16
"""Width of the empty margin on each side, in samples."""
SAMPLES = 4 * UNITS + 2 * PAD
"""Side of a raster in samples: four per unit, plus the margins."""
TEXELS = SAMPLES // 2
"""Side of a texture in texels."""
# Positions are in eighths of a unit. Sample i is at 2 * (i - PAD) + 1, which is never a whole unit.
EIGHTHS = 8
POSITIONS = 2 * (np.arange(SAMPLES, dtype=np.int64) - PAD) + 1
CURVE_STEPS = 8

# Each row covers ten degrees.
SINE = (
    *(0, 286, 572, 857, 1143, 1428, 1713, 1997, 2280, 2563),
    *(2845, 3126, 3406, 3686, 3964, 4240, 4516, 4790, 5063, 5334),
    *(5604, 5872, 6138, 6402, 6664, 6924, 7182, 7438, 7692, 7943),
    *(8192, 8438, 8682, 8923, 9162, 9397, 9630, 9860, 10087, 10311),
    *(10531, 10749, 10963, 11174, 11381, 11585, 11786, 11982, 12176, 12365),
    *(12551, 12733, 12911, 13085, 13255, 13421, 13583, 13741, 13894, 14044),
    *(14189, 14330, 14466, 14598, 14726, 14849, 14968, 15082, 15191, 15296),
    *(15396, 15491, 15582, 15668, 15749, 15826, 15897, 15964, 16026, 16083),
    *(16135, 16182, 16225, 16262, 16294, 16322, 16344, 16362, 16374, 16382),
    16384,
)
"""16,384 times the sine of 0 to 90 degrees. Math libraries may differ in the last bit; this table does not."""
SINE_BITS = 14

Points = list[tuple[int, int]]


def sine(degrees: int) -> int:
    """16,384 times the sine of an angle in whole degrees."""
    degrees %= 360
    if degrees >= 180:
        return -sine(degrees - 180)
    return SINE[degrees] if degrees <= 90 else SINE[180 - degrees]


def cosine(degrees: int) -> int:
    """16,384 times the cosine of an angle in whole degrees."""
    return sine(degrees + 90)


@dataclass(frozen=True, slots=True)
class Stroke:
    """A primitive of a drawing: a path in eighths of a unit."""

    color: str
    points: Points
    closed: bool
    """Whether the path is closed and filled (even-odd rule). Open paths are stroked with `width` and round ends."""
    width: int = 0
    bare: bool = False


def parse(drawing: str) -> tuple[int, list[Stroke]]:
    """Parses a drawing; returns the outline's width in eighths of a unit, and the primitives from bottom to top.

    Raises:
        DataError: A command is not a known primitive.
    """
    rim, strokes = 2 * EIGHTHS, list[Stroke]()
    for line in drawing.splitlines():
        words = line.split()
        if words and words[0] == "rim":
            rim = int(words[1]) * EIGHTHS
        elif words:
            strokes.extend(_strokes(words))
    return rim, strokes


def _strokes(words: list[str]) -> Iterator[Stroke]:
    """Yields the primitive of one command, and its mirror image if the command starts with ``both``."""
    flags = {"both": False, "bare": False}
    while words[0] in flags:
        flags[words[0]] = True
        words = words[1:]

    kind, color, *arguments = words
    points, closed = _path(kind, arguments)
    numbers = _numbers(arguments)
    width = EIGHTHS * numbers[0] if numbers and not closed else 0

    stroke = Stroke(color=color, points=points, closed=closed, width=width, bare=flags["bare"])
    yield stroke
    if flags["both"]:
        yield replace(stroke, points=[(UNITS * EIGHTHS - x, y) for x, y in points])


def _path(kind: str, arguments: list[str]) -> tuple[Points, bool]:
    """The points of a primitive in eighths of a unit, and whether its path is closed."""
    pairs = []
    for word in arguments:
        if "," in word:
            x, y = word.split(",")
            pairs.append((int(x), int(y)))
    points = [(EIGHTHS * x, EIGHTHS * y) for x, y in pairs]

    if kind == "oval":
        turn = next(iter(_numbers(arguments)), 0)
        return _ellipse(points, range(0, 360, 6), turn), True
    if kind == "rect":
        (left, top), (right, bottom) = points
        return [(left, top), (right, top), (right, bottom), (left, bottom)], True
    if kind == "arc":
        start, stop = pairs[2]
        return _ellipse(points, [*range(start, stop, 6), stop], 0), False
    if kind in ("poly", "blob"):
        return points if kind == "poly" else _closed_curve(points), True
    if kind in ("line", "bend"):
        return points if kind == "line" else _open_curve(points), False

    known = ("oval", "rect", "arc", "poly", "blob", "line", "bend")
    raise DataError(f"unknown primitive {kind!r} in a drawing. {did_you_mean(kind, known)}")


def _numbers(arguments: list[str]) -> list[int]:
    """The single numbers among a command's arguments, without its pairs."""
    return [int(word) for word in arguments if "," not in word]


def _ellipse(points: Points, degrees: range | list[int], turn: int) -> Points:
    """Points of an ellipse at the given angles.

    Args:
        points: Centre and radii of the ellipse.
        degrees: Angles of the points in degrees, clockwise from the right.
        turn: Clockwise rotation of the whole ellipse in degrees.
    """
    (x, y), (radius_x, radius_y) = points[:2]
    half = 1 << SINE_BITS - 1
    c, s = cosine(turn), sine(turn)

    around: Points = []
    for angle in degrees:
        u = radius_x * cosine(angle) + half >> SINE_BITS
        v = radius_y * sine(angle) + half >> SINE_BITS
        around.append((x + (u * c - v * s + half >> SINE_BITS), y + (u * s + v * c + half >> SINE_BITS)))
    return around


def _bezier(start: tuple[int, int], control: tuple[int, int], end: tuple[int, int]) -> Points:
    """Points of a quadratic Bezier curve, without its end point."""
    n, half = CURVE_STEPS, CURVE_STEPS**2 // 2
    (ax, ay), (bx, by), (cx, cy) = start, control, end

    curve: Points = []
    for t in range(n):
        i, j, k = (n - t) ** 2, 2 * t * (n - t), t * t
        x, y = i * ax + j * bx + k * cx, i * ay + j * by + k * cy
        curve.append(((x + half) // n**2, (y + half) // n**2))
    return curve


def _middle(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return (a[0] + b[0]) // 2, (a[1] + b[1]) // 2


def _closed_curve(points: Points) -> Points:
    around = [points[-1], *points, points[0]]
    curve: Points = []
    for before, point, after in zip(around, around[1:], around[2:], strict=False):
        curve += _bezier(_middle(before, point), point, _middle(point, after))
    return curve


def _open_curve(points: Points) -> Points:
    curve: Points = []
    start = points[0]
    for index in range(1, len(points) - 1):
        is_last = index == len(points) - 2
        end = points[-1] if is_last else _middle(points[index], points[index + 1])
        curve += _bezier(start, points[index], end)
        start = end
    return [*curve, points[-1]]


def rasterise(
    drawing: str, palette: Mapping[str, tuple[int, int, int]], rim_color: str
) -> UInt8[np.ndarray, "288 288"]:
    """Renders a drawing; each sample is the index of its colour in `palette` plus one, or 0 if it is empty.

    Args:
        drawing: The drawing's commands.
        palette: RGB by colour name.
        rim_color: Colour name of the outline.

    Raises:
        DataError: The drawing has an unknown primitive or colour.
    """
    values = {color: value for value, color in enumerate(palette, start=1)}
    rim, strokes = parse(drawing)
    samples = np.zeros((SAMPLES, SAMPLES), np.uint8)

    # The outline is below all primitives.
    if rim:
        for stroke in strokes:
            if not stroke.bare:
                _paint(samples, stroke, rim, values[rim_color])

    for stroke in strokes:
        if stroke.color not in values:
            raise DataError(
                f"unknown colour {stroke.color!r} in a drawing. {did_you_mean(stroke.color, values)}"
            )
        _paint(samples, stroke, 0, values[stroke.color])
    return samples


def _paint(samples: NDArray[np.uint8], stroke: Stroke, grow: int, value: int) -> None:
    """Sets all samples of a primitive to `value`, after widening it by `grow` eighths of a unit."""
    if stroke.closed:
        rows, columns, inside = _inside(stroke.points)
        samples[rows, columns][inside] = value

    radius = stroke.width // 2 + grow
    if radius:
        ends = stroke.points[1:] + stroke.points[:1] if stroke.closed else stroke.points[1:]
        for a, b in zip(stroke.points, ends, strict=False):
            _paint_capsule(samples, a, b, radius, value)


def _first_sample(position: int) -> int:
    """Index of the first sample at or after a position in eighths of a unit, clipped to the raster."""
    return min(max(position // 2 + PAD, 0), SAMPLES)


def _inside(points: Points) -> tuple[slice, slice, NDArray[np.bool_]]:
    """The bounding window of a closed path, and a mask of the samples in it that are inside the path.

    The mask follows the even-odd rule: each edge flips all samples to its left in the rows that it crosses.
    """
    xs, ys = zip(*points, strict=True)
    top, left = _first_sample(min(ys)), _first_sample(min(xs))
    rows, columns = slice(top, _first_sample(max(ys))), slice(left, _first_sample(max(xs)))

    inside = np.zeros((rows.stop - top, columns.stop - left), bool)
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        if ay > by:
            (ax, ay), (bx, by) = (bx, by), (ax, ay)
        crossed = slice(_first_sample(ay), _first_sample(by))
        flipped = (POSITIONS[columns] - ax) * (by - ay) < (POSITIONS[crossed, None] - ay) * (bx - ax)
        inside[crossed.start - top : crossed.stop - top] ^= flipped
    return rows, columns, inside


def _paint_capsule(
    samples: NDArray[np.uint8], a: tuple[int, int], b: tuple[int, int], radius: int, value: int
) -> None:
    """Sets all samples within `radius` of the line segment from `a` to `b` to `value`."""
    rows = slice(_first_sample(min(a[1], b[1]) - radius - 2), _first_sample(max(a[1], b[1]) + radius + 2))
    columns = slice(_first_sample(min(a[0], b[0]) - radius - 2), _first_sample(max(a[0], b[0]) + radius + 2))

    # Positions are relative to `a`, and lengths are squared so that they remain integers.
    x, y = POSITIONS[columns] - a[0], POSITIONS[rows, None] - a[1]
    dx, dy = b[0] - a[0], b[1] - a[1]
    along, length = x * dx + y * dy, dx * dx + dy * dy

    is_near_line = (x * dy - y * dx) ** 2 <= radius * radius * length
    to_a, to_b = x * x + y * y, (x - dx) ** 2 + (y - dy) ** 2
    is_near_end = np.minimum(to_a, to_b) <= radius * radius
    samples[rows, columns][is_near_line & (along > 0) & (along < length) | is_near_end] = value


def texture(
    samples: UInt8[np.ndarray, "288 288"], colors: UInt8[np.ndarray, "K 3"], window: int
) -> UInt8[np.ndarray, "144 144 4"]:
    """A texture with half the resolution of a raster, in which each texel is the average over ``window x window`` samples.

    If a pixel is about `window` samples wide, one look-up in the texture replaces supersampling of the pixel.

    Args:
        samples: The result of `rasterise`.
        colors: RGB of each value in `samples`; value 0 is empty.
        window: Width of the averaged area in samples, an odd number.

    Returns:
        Channels red, green and blue, each multiplied by the coverage, and coverage.
    """
    values = np.zeros((len(colors), 4), np.uint8)
    values[1:, :3], values[1:, 3] = colors[1:], 255
    return _averages(values[samples], window)


def texture_of_bitmap(bitmap: UInt8[np.ndarray, "256 256 4"], window: int) -> UInt8[np.ndarray, "144 144 4"]:
    """The texture of a bitmap with channels red, green, blue and coverage, and one pixel per sample; see `texture`."""
    values = np.zeros((SAMPLES, SAMPLES, 4), np.uint8)
    inner = values[PAD:-PAD, PAD:-PAD]
    inner[..., 3] = bitmap[..., 3]
    inner[..., :3] = bitmap[..., :3] * bitmap[..., 3:].astype(np.uint16) // 255
    return _averages(values, window)


def _averages(values: NDArray[np.uint8], window: int) -> NDArray[np.uint8]:
    # With a table of the sums of all samples above and to the left, the sum over any window takes four look-ups.
    sums = np.zeros((SAMPLES + window, SAMPLES + window, 4), np.int32)
    margin = window // 2
    sums[margin + 1 : margin + 1 + SAMPLES, margin + 1 : margin + 1 + SAMPLES] = values
    np.cumsum(sums, axis=0, out=sums)
    np.cumsum(sums, axis=1, out=sums)
    totals = (
        sums[window:, window:] - sums[:-window, window:] - sums[window:, :-window] + sums[:-window, :-window]
    )

    # Texel k holds sample 2 k + 1, which is at 4 k - 29 eighths of a unit.
    averages = (totals[1::2, 1::2] // window**2).astype(np.uint8)

    # Positions outside the texture are clipped to its border, so the border must be empty.
    averages[[0, -1]] = 0
    averages[:, [0, -1]] = 0
    return averages
