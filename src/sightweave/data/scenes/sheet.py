"""Draws contact sheets of images with their texts, for people to look at. Sheets may differ between machines."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from sightweave.core.errors import DataError

PICTURE_WIDTH = 288
"""Minimum width of an image on the sheet in pixels; smaller images are enlarged."""
FONT_SIZE = 15
LINE_HEIGHT = 20
MARGIN = 12
CJK_FONT_PATHS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/arphic/uming.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "C:/Windows/Fonts/msyh.ttc",
)
_MISSING = "\U0010ffff"
"""A code point that no font contains, so that the font's glyph for missing characters is drawn."""


def contact_sheet(
    pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], texts: Sequence[str], columns: int
) -> Image.Image:
    """Draws a contact sheet: enlarged images in rows, each with its text below it.

    Characters that no available font contains are drawn without accents, or else as ``?``. Latin letters are always
    available; other scripts need a system font.

    Args:
        pictures: One or more images of any size.
        texts: One text per image, which is wrapped; its line breaks are kept.
        columns: Number of images per row.

    Raises:
        DataError: There are no images, not one text per image, or no columns.
    """
    if not pictures or len(pictures) != len(texts):
        raise DataError(f"a sheet needs images and one text for each (got {len(pictures)} and {len(texts)}).")
    if columns < 1:
        raise DataError(f"a sheet needs at least 1 column (got {columns}).")

    enlarged = [_enlarge(picture) for picture in pictures]
    width = max(image.width for image in enlarged)
    lines = [list(_wrap(text, width)) for text in texts]

    # The tallest image with its text determines the height of a row.
    columns = min(columns, len(enlarged))
    row_heights = [0] * -(-len(enlarged) // columns)
    for index, image in enumerate(enlarged):
        height = image.height + LINE_HEIGHT * len(lines[index]) + 2 * MARGIN
        row_heights[index // columns] = max(row_heights[index // columns], height)
    tops = list(itertools.accumulate(row_heights, initial=0))

    sheet = Image.new("RGB", ((width + MARGIN) * columns + MARGIN, tops[-1]), "white")
    canvas = ImageDraw.Draw(sheet)
    for index, image in enumerate(enlarged):
        x, y = MARGIN + index % columns * (width + MARGIN), MARGIN + tops[index // columns]
        sheet.paste(image, (x, y))
        for number, line in enumerate(lines[index]):
            _write(canvas, x, y + image.height + 2 + LINE_HEIGHT * number, line)
    return sheet


def _enlarge(picture: UInt8[np.ndarray, "_ _ 3"]) -> Image.Image:
    image = Image.fromarray(picture)
    factor = -(-PICTURE_WIDTH // image.width)
    return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)


def _wrap(text: str, width: int) -> Iterable[str]:
    """Wraps a text into lines of at most `width` pixels; words are split only if they are wider than a line."""
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split(" "):
            joined = f"{line} {word}" if line else word
            if line and _width(joined) > width:
                yield line
                joined = word
            while _width(joined) > width:
                end = _fitting_length(joined, width)
                yield joined[:end]
                joined = joined[end:]
            line = joined
        yield line


def _fitting_length(text: str, width: int) -> int:
    """Number of characters at the start of a text that fit into `width` pixels; at least 1."""
    end = len(text)
    while end > 1 and _width(text[:end]) > width:
        end -= 1
    return end


def _width(line: str) -> float:
    return sum(font.getlength(character) for character, font in map(_glyph, line))


def _write(canvas: ImageDraw.ImageDraw, x: float, y: int, line: str) -> None:
    for character, font in map(_glyph, line):
        # Align characters of different fonts at their base line, because their tops differ.
        canvas.text((x, y + FONT_SIZE), character, fill="black", font=font, anchor="ls")
        x += font.getlength(character)


@lru_cache(maxsize=4096)
def _fonts() -> tuple[ImageFont.FreeTypeFont, ...]:
    latin = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    cjk = [path for path in map(Path, CJK_FONT_PATHS) if path.is_file()]
    return tuple(ImageFont.truetype(path, FONT_SIZE) for path in (latin, *cjk))


@lru_cache(maxsize=4096)
def _glyph(character: str) -> tuple[str, ImageFont.FreeTypeFont]:
    """The character to draw in place of a given one, with its font: itself, or without accents, or ``?``."""
    without_accents = unicodedata.normalize("NFKD", character)[0]
    for glyph in (character, without_accents):
        for font in _fonts():
            if bytes(font.getmask(glyph)) != bytes(font.getmask(_MISSING)):
                return glyph, font
    return "?", _fonts()[0]
