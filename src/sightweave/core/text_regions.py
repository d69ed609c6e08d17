r"""Texts in an image with their places, and their plain-text form, in which models read and write them.

One line is one region: its place and style in brackets, then the text. Lines that do not start with a bracket are ordinary
text and may be mixed with regions::

    [120 45 310 80] Ausgang
    [120 45 310 80 angle=-12 ink=#ffffff ground=#003060 align=left] Exit => Ausgang
    [102 48 300 40 304 75 106 83] Zwei Zeilen\nin schrägem Rahmen

- **Place**: four numbers are the left, top, right and bottom edge of a box; eight numbers are four corners x1 y1 ... x4 y4,
  starting at the top left of the text and going clockwise around it. All are whole thousandths (0 to 1000) of the image's
  width or height, so the form does not depend on the image's resolution.
- **angle**: rotation of the box around its centre, in degrees counterclockwise; 0 if it is missing.
- **ink**, **ground**: colours of the letters and of the surface around them as ``#rrggbb``. Without them, the writer
  estimates them from the image.
- **align**: ``left``, ``center`` or ``right``; ``center`` if it is missing.
- **Text**: everything after the bracket. ``\n`` starts a new line, ``\\`` is a backslash. If the text contains `` => ``, the
  words before it are those that are in the image now (`source`), and the words after it are the new text; a literal ``=>``
  is written ``\=>``.

Fields that have their default are left out, so the answer of a model that only predicts boxes and words is short.
`format_regions` and `parse_regions` are inverse to each other for coordinates in whole thousandths.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sightweave.core.errors import DataError, did_you_mean

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
Point = tuple[float, float]
ALIGNMENTS = ("left", "center", "right")
UNIT = 1000
"""Value of a coordinate at the right or bottom edge of the image in the plain-text form."""
_FIELDS = ("angle", "ink", "ground", "align")
_LINE = re.compile(r"\s*\[([^\]]*)\](.*)", re.DOTALL)
_COLOR = re.compile("#?([0-9a-fA-F]{6})")
_NUMBER = re.compile("-?[0-9]{1,6}")
_ANGLE = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,6})?")
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ARROW = re.compile(r"(?<!\\)=>")
_FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd]")
"""Control characters, line separators, halves of surrogate pairs, and the replacement for characters that were cut off."""


@dataclass(frozen=True, slots=True)
class TextRegion:
    """A text and its place in an image.

    Raises:
        DataError: A coordinate is outside the image, the box is empty, or another field is invalid.
    """

    text: str
    """The text; line feeds are kept as line breaks. An empty text only removes the old words."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom before the rotation, as fractions (0 to 1) of the image's width and height."""
    angle: float = 0.0
    """Rotation around the box's centre in degrees counterclockwise, from -180 to 180."""
    ink: Color | None = None
    """Colour of the letters; None estimates it from the image."""
    ground: Color | None = None
    """Colour of the surface behind the letters; None continues the surroundings of the box inward."""
    align: str = "center"
    """Alignment of the lines: ``left``, ``center`` or ``right``."""
    source: str = ""
    """The words that are in the image now, if they are known."""
    corners: tuple[Point, Point, Point, Point] | None = None
    """Four corners as fractions, from the top left of the text clockwise, instead of a rotated box; see `of_corners`."""

    def __post_init__(self) -> None:
        fault = _fault(self)
        if fault:
            raise DataError(f"region with the text {self.text[:40]!r}: {fault}.")

    @classmethod
    def of_corners(
        cls,
        text: str,
        corners: Iterable[Point],
        *,
        ink: Color | None = None,
        ground: Color | None = None,
        align: str = "center",
        source: str = "",
    ) -> TextRegion:
        """A region between four corners, as text detectors return them; its box is the smallest one around them.

        Args:
            text: As the field.
            corners: x and y of the top left, top right, bottom right and bottom left of the text, as fractions.
            ink: As the field.
            ground: As the field.
            align: As the field.
            source: As the field.

        Raises:
            DataError: There are not four corners, or they are invalid as for the class.
        """
        points = tuple((float(x), float(y)) for x, y in corners)
        if len(points) != 4:
            raise DataError(f"region with the text {text[:40]!r}: {len(points)} corners; give four.")
        across, down = [x for x, _ in points], [y for _, y in points]
        box = (min(across), min(down), max(across), max(down))
        return cls(text, box, ink=ink, ground=ground, align=align, source=source, corners=points)

    @classmethod
    def of_pixels(
        cls,
        text: str,
        box: tuple[float, float, float, float],
        size: tuple[int, int],
        *,
        angle: float = 0.0,
        ink: Color | None = None,
        ground: Color | None = None,
        align: str = "center",
        source: str = "",
    ) -> TextRegion:
        """A region whose box is given in pixels.

        Args:
            text: As the field.
            box: Left, top, right and bottom in pixels.
            size: Width and height of the image in pixels.
            angle: As the field.
            ink: As the field.
            ground: As the field.
            align: As the field.
            source: As the field.

        Raises:
            DataError: The box is not inside the image, or another field is invalid.
        """
        width, height = size
        left, top, right, bottom = box
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise DataError(
                f"region with the text {text[:40]!r}: the box {box} is not inside the image of {width} x {height} "
                "pixels; give left, top, right and bottom in pixels."
            )
        fractions = (left / width, top / height, right / width, bottom / height)
        return cls(text, fractions, angle=angle, ink=ink, ground=ground, align=align, source=source)


@dataclass(frozen=True, slots=True)
class ParsedRegions:
    """The regions that a text describes, and what could not be read."""

    regions: tuple[TextRegion, ...]
    """Valid regions in their order."""
    faults: tuple[str, ...] = ()
    """One sentence for each invalid region, with its line number, counted from 1."""
    rest: str = ""
    """The lines that are not regions, without white space at both ends."""


def parse_regions(text: str) -> ParsedRegions:
    """Reads all regions of a text, such as a model's answer; an invalid region becomes a fault and raises no error."""
    regions, faults, rest = [], [], []

    for number, line in enumerate(text.split("\n"), start=1):
        found = _LINE.fullmatch(line)
        if found is None:
            if line.lstrip().startswith("["):
                faults.append(f"line {number}: {line.strip()[:60]!r} has no closing bracket.")
            else:
                rest.append(line)
            continue
        try:
            regions.append(_region(found[1], found[2]))
        except DataError as error:
            faults.append(f"line {number}: {error}")

    return ParsedRegions(tuple(regions), tuple(faults), "\n".join(rest).strip())


def read_regions(text: str, where: str) -> tuple[TextRegion, ...]:
    """Reads a text that consists of regions only, such as a record of a dataset.

    Args:
        text: One region per line; blank lines are skipped.
        where: Name of the text for messages.

    Raises:
        DataError: A region is invalid, a line is not a region, or there are none.
    """
    found = parse_regions(text)
    if found.faults:
        raise DataError(f"{where}: {found.faults[0]}")
    if found.rest:
        line = found.rest.split("\n")[0]
        raise DataError(
            f'{where}: {line[:60]!r} is not a region; write each as "[left top right bottom] text".'
        )
    if not found.regions:
        raise DataError(f'{where}: no region; write each as "[left top right bottom] text".')
    return found.regions


def format_regions(regions: Iterable[TextRegion]) -> str:
    """The plain-text form of regions, one per line; coordinates are rounded to thousandths."""
    return "\n".join(_line(region) for region in regions)


def _line(region: TextRegion) -> str:
    values = region.box if region.corners is None else [edge for point in region.corners for edge in point]
    fields = [str(round(value * UNIT)) for value in values]
    if region.angle:
        fields.append(f"angle={region.angle:g}")
    for name, color in (("ink", region.ink), ("ground", region.ground)):
        if color is not None:
            fields.append(f"{name}=#{bytes(color).hex()}")
    if region.align != "center":
        fields.append(f"align={region.align}")

    text = _escaped(region.text)
    words = f"{_escaped(region.source)} => {text}" if region.source else text
    return f"[{' '.join(fields)}] {words}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace("=>", r"\=>")


def _unescaped(text: str) -> str:
    def of(found: re.Match[str]) -> str:
        return "\n" if found[1] == "n" else found[1]

    return _ESCAPE.sub(of, text)


def _region(head: str, words: str) -> TextRegion:
    """The region of one line.

    Args:
        head: The part in brackets.
        words: The rest of the line.

    Raises:
        DataError: The line is invalid.
    """
    numbers, options = _place(head), _options(head)
    source, *rest = (_unescaped(part.strip()) for part in _ARROW.split(words, maxsplit=1))
    text = rest[0] if rest else source
    if not text.strip():
        raise DataError(f"[{head}] has no text after it.")

    shared: dict[str, Any] = {"source": source if rest else "", **options}
    if len(numbers) == 4:
        left, top, right, bottom = numbers
        return TextRegion(text, (left, top, right, bottom), **shared)
    if shared.pop("angle", None) is not None:
        raise DataError(f"[{head}] has four corners and an angle; give one of them.")
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    return TextRegion.of_corners(text, points, **shared)


def _place(head: str) -> list[float]:
    """The coordinates at the start of a bracket, as fractions."""
    words = [word for word in head.replace(",", " ").split() if "=" not in word]
    wrong = [word for word in words if not _NUMBER.fullmatch(word)]
    if wrong:
        raise DataError(f"[{head}]: {wrong[0][:40]!r} is not a whole number.")
    if len(words) not in (4, 8):
        raise DataError(
            f"[{head}] has {len(words)} numbers; a box has 4 (left, top, right, bottom), and four corners have 8."
        )

    outside = [word for word in words if not 0 <= int(word) <= UNIT]
    if outside:
        raise DataError(
            f"[{head}]: {outside[0]} is outside the image; coordinates are thousandths, 0 to {UNIT}."
        )
    return [int(word) / UNIT for word in words]


def _options(head: str) -> dict[str, object]:
    """The named fields of a bracket."""
    found: dict[str, object] = {}
    for word in head.replace(",", " ").split():
        name, is_named, value = word.partition("=")
        if not is_named:
            continue
        if name not in _FIELDS:
            raise DataError(f"[{head}]: unknown field {name[:40]!r}. {did_you_mean(name, _FIELDS)}")
        if name in found:
            raise DataError(f"[{head}]: the field {name!r} is given twice.")
        found[name] = _value(head, name, value)
    return found


def _value(head: str, name: str, value: str) -> object:
    if name == "align":
        return value  # checked by the class
    if name == "angle":
        if not _ANGLE.fullmatch(value):
            raise DataError(f"[{head}]: the angle {value[:40]!r} is not a number of degrees.")
        return float(value)
    if not _COLOR.fullmatch(value):
        raise DataError(f"[{head}]: {name} {value[:40]!r} is not a colour such as #ffcc00.")
    return tuple(bytes.fromhex(value.removeprefix("#")))


def _fault(region: TextRegion) -> str:
    """What is wrong with a region; empty if nothing is."""
    left, top, right, bottom = region.box
    if not all(0 <= edge <= 1 for edge in region.box):  # false for NaN, too
        return f"the box {region.box} reaches outside the image; coordinates are fractions of the width and height, 0 to 1"
    if left >= right or top >= bottom:
        return f"the box {region.box} is empty; give left < right and top < bottom"
    if not (math.isfinite(region.angle) and abs(region.angle) <= 180):
        return f"the angle {region.angle} is not between -180 and 180 degrees"
    if region.align not in ALIGNMENTS:
        return f"unknown alignment {region.align!r}. {did_you_mean(region.align, ALIGNMENTS)}".rstrip(".")
    for name, color in (("ink", region.ink), ("ground", region.ground)):
        if color is not None and not (len(color) == 3 and all(0 <= value <= 255 for value in color)):
            return f"{name} {color} is not a colour of three values from 0 to 255"
    for words in (region.text, region.source):
        forbidden = _FORBIDDEN.search(words)
        if forbidden:
            return f"it contains the character U+{ord(forbidden[0]):04X}, which cannot be drawn"
    return "" if region.corners is None else _fault_of_corners(region)


def _fault_of_corners(region: TextRegion) -> str:
    assert region.corners is not None
    if region.angle:
        return f"it has four corners and an angle of {region.angle} degrees; give one of them"
    if not all(0 <= edge <= 1 for point in region.corners for edge in point):
        return f"the corners {region.corners} reach outside the image; they are fractions of the width and height, 0 to 1"

    turns = []
    for number in range(4):
        (x0, y0), (x1, y1), (x2, y2) = (region.corners[(number + step) % 4] for step in range(3))
        turns.append((x1 - x0) * (y2 - y1) - (y1 - y0) * (x2 - x1))
    # The y axis points down, so going clockwise always turns to the positive side.
    if min(turns) <= 0:
        return f"the corners {region.corners} do not go clockwise around a convex area"
    return ""
