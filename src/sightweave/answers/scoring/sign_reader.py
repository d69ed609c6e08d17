"""Reads text that is set in our own bitmap face back from the pixels of an image, by comparing it with templates.

Given the box of a sign, it tries all faces, sizes and line breaks. For each of them, it takes the nearest glyph for every
cell, draws the resulting text as `lettering` does, and measures how much the drawing differs from the pixels. The best few
are refined glyph by glyph. A clean drawing is read without error, and a text in another face is read badly: this is a reader
for measuring, not for photographs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from sightweave.core.text_regions import TextRegion
from sightweave.data.scenes.face import CELL_HEIGHT, CELL_WIDTHS, CHARACTERS, glyph
from sightweave.data.scenes.lettering import DOTS, FACES, SAMPLES, dot_places, local_positions
from sightweave.data.scenes.scene import UNIT, Sign

MAX_LINES = 2
_NUM_REFINED = 3
_NUM_RIVALS = 8
_SNAP = 2  # sixteenths of a pixel
_PERFECT = 1e-4
_NUM_SHIFTED = 3
_SHIFTS = (
    (0, -UNIT),
    (0, UNIT),
    (-UNIT, 0),
    (UNIT, 0),
    (-UNIT, -UNIT),
    (-UNIT, UNIT),
    (UNIT, -UNIT),
    (UNIT, UNIT),
)
_Floats = NDArray[np.float32]
_Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Reading:
    """A text that was read from an image."""

    text: str
    """The text, with a line feed between two lines; empty if there are no letters."""
    distance: float
    """Mean squared difference between the pixels of the sign and a drawing of the text, where 1 is the difference between
    ink and ground. 0 is a perfect match."""
    face: str
    """Face of the letters."""
    dot: int
    """Side of a dot of the letters in sixteenths of a pixel."""


@dataclass(frozen=True, slots=True, eq=False)
class _Panel:
    """The samples of a sign's panel, and the share of ink in its pixels."""

    across: _Ints
    """Position of each sample from the left edge, in sixteenths of a pixel; S."""
    down: _Ints
    """Position of each sample from the top edge; S."""
    pixel: _Ints
    """Index of each sample's pixel in `ink`; S."""
    ink: _Floats
    """Share of ink in each pixel that is completely on the panel, 0 to 1; P."""
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """One way of dividing a line of a panel into cells."""

    face: str
    dot: int
    top: int
    """Top of the line in sixteenths of a pixel."""
    start: int
    """Left of the first cell, which may be outside the panel."""


_Found = tuple[float, list[_Line], list[str]]
"""Mean squared difference to a drawing of a text, and for each line, its cells and text."""


def read_sign(pixels: UInt8[np.ndarray, "Hp Wp 3"], region: TextRegion) -> Reading:
    """Reads the text in a region of an image.

    Args:
        pixels: The image.
        region: The box and angle of the sign, rounded to whole degrees. Ink and ground are estimated if they are None;
            the text is ignored.
    """
    panel = _panel(pixels, region)
    nothing = Reading("", float((panel.ink**2).mean()) if panel.ink.size else 0.0, FACES[0], DOTS[0])
    if not panel.ink.size or nothing.distance < _PERFECT:
        return replace(nothing, distance=0.0)

    # Find the best few combinations of face, size and number of lines. Nothing can be better than a perfect match.
    found = []
    for face, dot, count in product(FACES, DOTS, range(1, MAX_LINES + 1)):
        if CELL_HEIGHT * dot * count <= panel.height:
            found.append(_decoded(panel, face, dot, count))
            if found[-1][0] < _PERFECT:
                break
    found.sort(key=lambda one: one[0])
    if found and found[0][0] >= _PERFECT:
        found = _shifted(panel, found)

    best = nothing
    for _, lines, texts in found[:_NUM_REFINED]:
        distance, refined = _refined(panel, lines, texts)
        if distance < best.distance:
            text = "\n".join(line.strip() for line in refined if line.strip())
            best = Reading(text, distance, lines[0].face, lines[0].dot)
        if best.distance < _PERFECT:
            break
    return best


def _shifted(panel: _Panel, found: list[_Found]) -> list[_Found]:
    """Tries the best few combinations again with the text a pixel away from the middle, best first.

    A writer may round the box of a sign, which moves the middle.
    """
    tried = list(found)
    for _, lines, _ in found[:_NUM_SHIFTED]:
        for shift in _SHIFTS:
            tried.append(_decoded(panel, lines[0].face, lines[0].dot, len(lines), shift))
            if tried[-1][0] < _PERFECT:
                break
    return sorted(tried, key=lambda one: one[0])


def _panel(pixels: NDArray[np.uint8], region: TextRegion) -> _Panel:
    height, width = pixels.shape[:2]
    left, right = (_snapped(edge * width * UNIT) for edge in (region.box[0], region.box[2]))
    top, bottom = (_snapped(edge * height * UNIT) for edge in (region.box[1], region.box[3]))
    sign = Sign(
        *("", "", "", UNIT, "", ""),
        x=left + (right - left) // 2,
        y=top + (bottom - top) // 2,
        width=right - left,
        height=bottom - top,
        angle=-round(region.angle),
    )

    # Positions of all samples of the image, as the reader of the sign sees them.
    across, down = local_positions(sign, (slice(0, height), slice(0, width)))
    across, down = np.broadcast_arrays(across, down)
    is_inside = (across >= 0) & (across < sign.width) & (down >= 0) & (down < sign.height)
    by_pixel = is_inside.reshape(height, SAMPLES, width, SAMPLES).all((1, 3))
    colors = pixels[by_pixel].astype(np.float32)

    numbers = np.full((height, width), -1, np.int32)
    numbers[by_pixel] = np.arange(len(colors), dtype=np.int32)
    pixel = numbers.repeat(SAMPLES, 0).repeat(SAMPLES, 1)
    is_used = pixel >= 0
    return _Panel(
        across=across[is_used],
        down=down[is_used],
        pixel=pixel[is_used],
        ink=_ink(colors, region),
        width=sign.width,
        height=sign.height,
    )


def _snapped(position: float) -> int:
    """A position in sixteenths of a pixel, moved to the nearest whole pixel if that is close.

    The plain-text form of a region rounds its coordinates, but the panels of signs begin at whole pixels.
    """
    whole = round(position / UNIT) * UNIT
    return whole if abs(position - whole) <= _SNAP else round(position)


def _ink(colors: _Floats, region: TextRegion) -> _Floats:
    """Share of ink in each of some pixels, given their RGB: its position on the line from ground to ink."""
    if not len(colors):
        return np.zeros(0, np.float32)

    ground = np.median(colors, axis=0) if region.ground is None else np.array(region.ground, np.float32)
    if region.ink is None:
        distances = ((colors - ground) ** 2).sum(-1)
        ink = colors[distances >= np.quantile(distances, 0.95)].mean(0)
    else:
        ink = np.array(region.ink, np.float32)

    direction = ink - ground
    length = float((direction**2).sum())
    if length < 1:
        return np.zeros(len(colors), np.float32)
    shares: _Floats = np.clip((colors - ground) @ direction / length, -0.25, 1.25).astype(np.float32)
    return shares


@lru_cache(maxsize=4)
def _templates(weight: str) -> _Floats:
    """The dots of all characters of a weight, ``K x 12 w``."""
    cells = [glyph(character, weight).reshape(-1) for character in CHARACTERS]
    return np.array(cells, np.float32)


def _weight(face: str) -> str:
    return "bold" if face == "bold" else "regular"


def _decoded(panel: _Panel, face: str, dot: int, count: int, shift: tuple[int, int] = (0, 0)) -> _Found:
    """Reads the panel with one face, size and number of lines.

    Args:
        panel: The panel.
        face: Face of the letters.
        dot: Side of a dot in sixteenths of a pixel.
        count: Number of lines.
        shift: Distance of the text from the middle to the right and down, in sixteenths of a pixel.
    """
    block = CELL_HEIGHT * dot * count
    first = (panel.height - block) // 2 // UNIT * UNIT + shift[1]

    lines: list[_Line] = []
    texts: list[str] = []
    for number in range(count):
        top = first + number * CELL_HEIGHT * dot
        band = _band(panel, top, dot)
        weights = np.bincount(band.pixel, minlength=len(panel.ink))

        best: tuple[float, _Line, str] | None = None
        for start in _starts(panel.width, face, dot):
            line = _Line(face, dot, top, start + shift[0])
            places = _places(band, line)
            text = _nearest(panel, places, face)
            difference = float(((panel.ink - _ink_of(panel, places, face, text)) ** 2) @ weights)
            if best is None or difference < best[0]:
                best = (difference, line, text)
        assert best is not None
        lines.append(best[1])
        texts.append(best[2])

    drawn = sum(_drawn(panel, line, text) for line, text in zip(lines, texts, strict=True))
    return float(((panel.ink - drawn) ** 2).mean()), lines, texts


def _starts(width: int, face: str, dot: int) -> Iterator[int]:
    """Left edges of the first cell for all ways in which `lettering` may centre a line in a panel.

    Starts that differ by whole cells are equivalent, because empty cells are read as spaces.
    """
    cell = CELL_WIDTHS[_weight(face)]
    seen = set()
    for columns in range(1, width // (cell * dot) + 1):
        left = (width - columns * cell * dot) // 2 // UNIT * UNIT
        for shift in {0, cell // 2, (cell + 1) // 2}:
            seen.add((left + shift * dot) % (cell * dot) - cell * dot)
    yield from sorted(seen)


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Where the samples of a line are in its cells."""

    pixel: _Ints
    """Index of each sample's pixel."""
    cells: _Ints
    """Number of each sample's cell."""
    dots: _Ints
    """Number of each sample's dot in its cell."""


def _band(panel: _Panel, top: int, dot: int) -> _Panel:
    """The panel with only the samples of a line."""
    is_on_line = (panel.down >= top) & (panel.down < top + CELL_HEIGHT * dot)
    return replace(
        panel, across=panel.across[is_on_line], down=panel.down[is_on_line], pixel=panel.pixel[is_on_line]
    )


def _places(band: _Panel, line: _Line) -> _Places:
    """The places of the samples of a line that are in a cell."""
    rows, columns = dot_places(band.across - line.start, band.down - line.top, line.face, line.dot)
    cell = CELL_WIDTHS[_weight(line.face)]
    is_in_cell = columns >= 0
    rows, columns, pixel = rows[is_in_cell], columns[is_in_cell], band.pixel[is_in_cell]
    cells = columns // cell
    return _Places(pixel, cells, rows * cell + columns - cells * cell)


def _nearest(panel: _Panel, places: _Places, face: str) -> str:
    """The text whose glyphs are nearest to the mean ink at each dot."""
    templates = _templates(_weight(face))
    num_dots = templates.shape[1]
    num_cells = int(places.cells.max(initial=-1)) + 1

    place = places.cells * num_dots + places.dots
    totals = np.bincount(place, panel.ink[places.pixel], num_cells * num_dots)
    counts = np.bincount(place, minlength=num_cells * num_dots)
    means = (totals / np.maximum(counts, 1)).reshape(num_cells, num_dots)
    seen = (counts > 0).reshape(num_cells, num_dots)

    # Squared distances over the dots that are on the panel, multiplied out.
    distances = seen @ (templates**2).T - 2 * (means * seen) @ templates.T
    return "".join(CHARACTERS[best] for best in distances.argmin(1))


def _drawn(panel: _Panel, line: _Line, text: str) -> _Floats:
    """Share of ink in each pixel if a line has this text, one character per cell."""
    return _ink_of(panel, _places(_band(panel, line.top, line.dot), line), line.face, text)


def _ink_of(panel: _Panel, places: _Places, face: str, text: str) -> _Floats:
    """Share of ink in each pixel if the cells of a line have the characters of a text."""
    if not text:
        return np.zeros(len(panel.ink), np.float32)
    glyphs = _templates(_weight(face))[[CHARACTERS.index(character) for character in text]]
    drawn = np.bincount(places.pixel, glyphs[places.cells, places.dots], len(panel.ink))
    shares: _Floats = (drawn / SAMPLES**2).astype(np.float32)
    return shares


def _refined(panel: _Panel, lines: list[_Line], texts: list[str]) -> tuple[float, list[str]]:
    """Replaces glyphs by others as long as the drawing gets closer to the pixels.

    Returns:
        The mean squared difference between pixels and drawing, and the text of each line.
    """
    texts = list(texts)
    rest: _Floats = panel.ink - sum(
        _drawn(panel, line, text) for line, text in zip(lines, texts, strict=True)
    )
    for number, line in enumerate(lines):
        places = _places(_band(panel, line.top, line.dot), line)
        templates = _templates(_weight(line.face))

        for _ in range(2):
            before = texts[number]
            for cell in range(len(before)):
                is_here = places.cells == cell
                own, place = places.pixel[is_here], places.dots[is_here]
                if not own.size:
                    continue

                # Compare each rival's drawing of this cell with what the other cells leave of the ink.
                current = CHARACTERS.index(texts[number][cell])
                touched, index = np.unique(own, return_inverse=True)
                target = rest[touched] + _cell_ink(templates[current], place, index, len(touched))
                best, best_ink = _best_rival(target, templates, current, place, index)
                rest[touched] = target - best_ink
                texts[number] = texts[number][:cell] + CHARACTERS[best] + texts[number][cell + 1 :]
            if texts[number] == before:
                break

    return float((rest**2).mean()), texts


def _cell_ink(template: _Floats, place: _Ints, index: NDArray[np.intp], count: int) -> _Floats:
    """Share of ink that one glyph puts into each of the pixels it touches."""
    return (np.bincount(index, template[place], count) / SAMPLES**2).astype(np.float32)


def _best_rival(
    target: _Floats, templates: _Floats, current: int, place: _Ints, index: NDArray[np.intp]
) -> tuple[int, _Floats]:
    """The glyph whose drawing is nearest to the ink of a cell, among the current one and those with similar dots."""
    count = len(target)
    by_dot = np.bincount(place, target[index], templates.shape[1])
    counts = np.bincount(place, minlength=templates.shape[1])
    means = by_dot / np.maximum(counts, 1)
    distances = ((templates - means) ** 2 * (counts > 0)).sum(1)

    best, best_ink = current, _cell_ink(templates[current], place, index, count)
    least = float(((target - best_ink) ** 2).sum())
    for rival in np.argsort(distances)[:_NUM_RIVALS]:
        ink = _cell_ink(templates[rival], place, index, count)
        difference = float(((target - ink) ** 2).sum())
        if difference < least - 1e-6:
            best, best_ink, least = int(rival), ink, difference
    return best, best_ink
