"""A sheet of pictures with their texts, to be looked at; unlike the pictures it may differ from machine to machine."""

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
"""Pixels that a picture is enlarged to, at least."""
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
# A code point that no font draws: what stands there is the font's picture of a missing character.
_MISSING = "\U0010ffff"


def contact_sheet(
    pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], texts: Sequence[str], columns: int
) -> Image.Image:
    """Enlarged pictures in rows, each with its text wrapped below it.

    Latin letters are always drawn, accents too; other scripts by a font of the system where there is one, else as
    ``?``.

    Args:
        pictures: Of any sizes, one or more.
        texts: One for each picture; line breaks are kept.
        columns: Pictures in a row.

    Raises:
        DataError: No pictures, another number of texts, or no columns.
    """
    if not pictures or len(pictures) != len(texts):
        raise DataError(f"a sheet needs images and one text for each (got {len(pictures)} and {len(texts)}).")
    if columns < 1:
        raise DataError(f"a sheet needs at least 1 column (got {columns}).")
    enlarged = [_enlarge(picture) for picture in pictures]
    width = max(picture.width for picture in enlarged)
    lines = [list(_wrap(text, width)) for text in texts]
    heights = [
        picture.height + LINE_HEIGHT * len(each) for picture, each in zip(enlarged, lines, strict=True)
    ]
    rows = [max(heights[start : start + columns]) + 2 * MARGIN for start in range(0, len(heights), columns)]
    tops = list(itertools.accumulate(rows, initial=0))
    columns = min(columns, len(pictures))
    sheet = Image.new("RGB", ((width + MARGIN) * columns + MARGIN, tops[-1]), "white")
    canvas = ImageDraw.Draw(sheet)
    for index, (picture, each) in enumerate(zip(enlarged, lines, strict=True)):
        x, y = MARGIN + index % columns * (width + MARGIN), MARGIN + tops[index // columns]
        sheet.paste(picture, (x, y))
        for number, line in enumerate(each):
            _write(canvas, x, y + picture.height + 2 + LINE_HEIGHT * number, line)
    return sheet


def _enlarge(picture: UInt8[np.ndarray, "_ _ 3"]) -> Image.Image:
    image = Image.fromarray(picture)
    factor = -(-PICTURE_WIDTH // image.width)
    return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)


def _wrap(text: str, width: int) -> Iterable[str]:
    """Lines no wider than `width`: broken at spaces, and inside a word only where the word alone is wider."""
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split(" "):
            joined = f"{line} {word}" if line else word
            if line and _width(joined) > width:
                yield line
                joined = word
            while _width(joined) > width:
                fits = next(
                    end for end in range(len(joined), 0, -1) if end == 1 or _width(joined[:end]) <= width
                )
                yield joined[:fits]
                joined = joined[fits:]
            line = joined
        yield line


def _width(line: str) -> float:
    return sum(font.getlength(shown) for shown, font in map(_glyph, line))


def _write(canvas: ImageDraw.ImageDraw, x: float, y: int, line: str) -> None:
    for shown, font in map(_glyph, line):
        # Fonts agree on the base line, not on the top.
        canvas.text((x, y + FONT_SIZE), shown, fill="black", font=font, anchor="ls")
        x += font.getlength(shown)


@lru_cache(maxsize=4096)
def _fonts() -> tuple[ImageFont.FreeTypeFont, ...]:
    latin = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    paths = (latin, *(path for path in map(Path, CJK_FONT_PATHS) if path.is_file()))
    return tuple(ImageFont.truetype(path, FONT_SIZE) for path in paths)


@lru_cache(maxsize=4096)
def _glyph(character: str) -> tuple[str, ImageFont.FreeTypeFont]:
    """What to draw for a character and with which font: itself, else its letter without accents, else ``?``."""
    for shown in (character, unicodedata.normalize("NFKD", character)[0]):
        for font in _fonts():
            if bytes(font.getmask(shown)) != bytes(font.getmask(_MISSING)):
                return shown, font
    return "?", _fonts()[0]
