"""A contact sheet of images with their texts, for people to look at. Unlike the images, it may differ between machines."""

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
"""Minimum width of an enlarged image in pixels."""
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
"""A code point that no font has, so it is drawn as the font's glyph for missing characters."""


def contact_sheet(
    pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], texts: Sequence[str], columns: int
) -> Image.Image:
    """Enlarged images in rows, each with its text wrapped below it.

    Latin letters, with or without accents, are always drawn; other scripts only if a system font has them, else as ``?``.

    Args:
        pictures: One or more images of any sizes.
        texts: One text per image; line breaks are kept.
        columns: Images per row.

    Raises:
        DataError: No images, a different number of texts, or no columns.
    """
    if not pictures or len(pictures) != len(texts):
        raise DataError(f"a sheet needs images and one text for each (got {len(pictures)} and {len(texts)}).")
    if columns < 1:
        raise DataError(f"a sheet needs at least 1 column (got {columns}).")

    enlarged = [_enlarge(picture) for picture in pictures]
    width = max(image.width for image in enlarged)
    lines = [list(_wrap(text, width)) for text in texts]

    # A row is as high as its tallest image with text.
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
    """Lines no wider than `width` pixels: broken at spaces, and inside a word only if the word alone is wider."""
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
    """The number of characters from the start that fit into `width` pixels, at least 1."""
    end = len(text)
    while end > 1 and _width(text[:end]) > width:
        end -= 1
    return end


def _width(line: str) -> float:
    return sum(font.getlength(character) for character, font in map(_glyph, line))


def _write(canvas: ImageDraw.ImageDraw, x: float, y: int, line: str) -> None:
    for character, font in map(_glyph, line):
        # Fonts agree on the base line, not on the top.
        canvas.text((x, y + FONT_SIZE), character, fill="black", font=font, anchor="ls")
        x += font.getlength(character)


@lru_cache(maxsize=4096)
def _fonts() -> tuple[ImageFont.FreeTypeFont, ...]:
    latin = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    cjk = [path for path in map(Path, CJK_FONT_PATHS) if path.is_file()]
    return tuple(ImageFont.truetype(path, FONT_SIZE) for path in (latin, *cjk))


@lru_cache(maxsize=4096)
def _glyph(character: str) -> tuple[str, ImageFont.FreeTypeFont]:
    """The glyph to draw for a character, and its font: the character itself, else without accents, else ``?``."""
    without_accents = unicodedata.normalize("NFKD", character)[0]
    for glyph in (character, without_accents):
        for font in _fonts():
            if bytes(font.getmask(glyph)) != bytes(font.getmask(_MISSING)):
                return glyph, font
    return "?", _fonts()[0]
