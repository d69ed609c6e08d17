"""Fits a text into a box: the largest size at which it can be broken into lines that fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sightweave.core.errors import DataError
from sightweave.rendering import fonts

_HAN = "\u2e80-\u2fff\u3003-\u3007\u3012-\u312f\u31a0-\u9fff\uf900-\ufaff\uff10-\uff3a\uff41-\uff5a\U00020000-\U0003ffff"
_OPENING, _CLOSING = (
    "\u3008\u300a\u300c\u300e\u3010\u3014\uff08",
    "\u3001\u3002\u3009\u300b\u300d\u300f\u3011\u3015\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\u30fc\u2026",
)
_PIECE = re.compile(
    rf"[{_OPENING}]*[{_HAN}][{_CLOSING}]*"  # Chinese and Japanese break between any characters but not before a comma
    rf"|[^\s{_HAN}-]*-(?=[^\W\d])"  # a compound breaks after its hyphen
    rf"|[^\s{_HAN}{_OPENING}-]+(?:-(?![^\W\d])[^\s{_HAN}-]*)*[{_CLOSING}]*"
    rf"|\S"
)
_LARGEST = 2000
"""Maximum font size in pixels."""


@dataclass(frozen=True)
class Line:
    """One line of a fitted text."""

    text: str
    x: float
    """Origin of the first letter in pixels from the left edge of the box."""
    y: float
    """Baseline in pixels from the top edge of the box."""


@dataclass(frozen=True)
class Fitted:
    """A text broken into lines in a box."""

    font: ImageFont.FreeTypeFont
    size: int
    """Font size in pixels."""
    lines: tuple[Line, ...]
    width: int
    """Width of the box in pixels."""
    height: int
    """Height of the box in pixels."""
    direction: str | None
    """``rtl`` for a text from right to left; None for others."""

    def draw(self) -> Image.Image:
        """Coverage of each pixel of the box by letters, as a mode ``L`` image."""
        image = Image.new("L", (self.width, self.height))
        draw = ImageDraw.Draw(image)
        for line in self.lines:
            position = (line.x, line.y)
            draw.text(position, line.text, fill=255, font=self.font, anchor="ls", direction=self.direction)
        return image


def fit(
    text: str,
    width: int,
    height: int,
    *,
    font: Path,
    align: str = "center",
    min_size: int = 8,
    max_size: int = _LARGEST,
) -> Fitted:
    """Sets a text as large as its box allows.

    The height of a capital letter counts for every line, so that "see" is not larger than "See".

    Args:
        text: The text; line feeds are kept, and more lines are made where they allow a larger size.
        width: Width of the box in pixels.
        height: Height of the box in pixels.
        font: File of a font that has all characters of the text.
        align: ``left``, ``center`` or ``right``.
        min_size: Minimum font size in pixels.
        max_size: Maximum font size in pixels.

    Raises:
        DataError: The text does not fit at the minimum size.
    """
    setting = _Setting(text, width, height, font, align)
    found = setting.at(min_size)
    if found is None:
        raise DataError(
            f"the text {text[:60]!r} does not fit into its box of {width} x {height} pixels even at the minimum font size "
            f"of {min_size} pixels; make the box larger, the text shorter, or lower min_size."
        )

    # Binary search between a size that fits and one that does not.
    low, high = min_size, max(min_size, min(max_size, _LARGEST, 2 * height)) + 1
    while high - low > 1:
        middle = (low + high) // 2
        attempt = setting.at(middle)
        if attempt is None:
            high = middle
        else:
            low, found = middle, attempt
    return found


@dataclass(frozen=True)
class _Setting:
    text: str
    width: int
    height: int
    path: Path
    align: str

    def at(self, size: int) -> Fitted | None:
        """The text at a font size; None if it does not fit."""
        is_complex = fonts.is_complex(self.text)
        font = fonts.sized(self.path, size, complex_layout=is_complex)
        direction = "rtl" if is_complex and fonts.is_right_to_left(self.text) else None
        lines = _broken(self.text, font, self.width)
        if lines is None:
            return None

        # Vertical extent: from the top of the first line, at least a capital letter high, to the bottom of the last.
        pitch = sum(font.getmetrics())
        boxes = [font.getbbox(line, anchor="ls", direction=direction) for line in lines]
        capital = font.getbbox("H", anchor="ls")[1]
        top = min(capital, *[box[1] + pitch * number for number, box in enumerate(boxes)])
        bottom = max([max(0, box[3]) + pitch * number for number, box in enumerate(boxes)])
        if bottom - top > self.height or max(box[2] - box[0] for box in boxes) > self.width:
            return None

        first = (self.height - (bottom - top)) // 2 - top
        placed = []
        for number, (line, box) in enumerate(zip(lines, boxes, strict=True)):
            spare = self.width - (box[2] - box[0])
            x = {"left": 0, "center": spare // 2, "right": spare}[self.align] - box[0]
            placed.append(Line(line, x, first + pitch * number))
        return Fitted(font, size, tuple(placed), self.width, self.height, direction)


def _broken(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str] | None:
    """Breaks a text into as few lines as possible; None if a word is wider than the box."""
    lines = []
    space = font.getlength(" ")
    for paragraph in text.split("\n"):
        line, length = "", 0.0
        for piece, has_space in pieces(paragraph):
            wide = font.getlength(piece)
            if wide > width + 1:
                return None
            gap = space if has_space and line else 0.0
            if line and length + gap + wide > width:
                lines.append(line)
                line, length = piece, wide
            else:
                line += (" " if gap else "") + piece
                length += gap + wide
        lines.append(line)
    return lines


def pieces(paragraph: str) -> Sequence[tuple[str, bool]]:
    """The parts of a paragraph that must not be broken, each with whether a space precedes it."""
    found = []
    for match in _PIECE.finditer(paragraph):
        before = paragraph[: match.start()]
        found.append((match[0], before.endswith((" ", "\t", "\u3000"))))
    return found
