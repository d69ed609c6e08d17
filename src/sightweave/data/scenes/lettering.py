"""Draws signs: panels with letters of our own face, upright or turned, with integers only.

A pixel is the average of 4 x 4 samples. Each of them is outside the sign, on its frame, on the ground or on a letter. For
an upright sign whose dots are whole pixels, all samples of a pixel agree, so letters are sharp.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from sightweave.core.errors import DataError, did_you_mean
from sightweave.core.text_regions import TextRegion
from sightweave.data.scenes.face import CELL_HEIGHT, text_bitmap
from sightweave.data.scenes.raster import SINE_BITS, cosine, sine
from sightweave.data.scenes.scene import UNIT, Sign

COLORS = {
    "black": (20, 20, 24),
    "white": (252, 252, 252),
    "red": (188, 28, 32),
    "green": (20, 108, 52),
    "blue": (24, 64, 168),
    "yellow": (252, 220, 72),
    "purple": (108, 40, 136),
    "brown": (104, 64, 36),
}
"""RGB of the colours of signs, by name."""
FACES = ("regular", "bold", "slanted")
"""Faces of signs; ``slanted`` is the regular weight, leaning to the right."""
DOTS = (16, 20, 24, 32)
"""Sides of a dot in sixteenths of a pixel: the sizes of letters on signs."""
FRAME = UNIT
"""Width of the frame around a panel, in sixteenths of a pixel."""
SIDE_MARGIN, TOP_MARGIN = 3 * UNIT, UNIT
"""Least distance of the text from the sides, and from the top and bottom, of the panel."""
SAMPLES = 4
"""Samples per pixel along each axis."""
_STEP = UNIT // SAMPLES
_SLOPE = 4  # rows over which slanted letters move by one dot
Window = tuple[slice, slice]


def panel_size(lines: int, columns: int, face: str, dot: int) -> tuple[int, int]:
    """Width and height of a panel for a text, in sixteenths of a pixel; both are whole pixels.

    Args:
        lines: Number of lines.
        columns: Number of characters of the longest line.
        face: Face of the letters.
        dot: Side of a dot in sixteenths of a pixel.
    """
    bitmap = letters("n" * columns, face)
    width = bitmap.shape[1] * dot + 2 * SIDE_MARGIN
    height = lines * CELL_HEIGHT * dot + 2 * TOP_MARGIN
    return -(-width // UNIT) * UNIT, -(-height // UNIT) * UNIT


def letters(text: str, face: str) -> NDArray[np.bool_]:
    """The dots of a text, bool ``h x w``; slanted letters are drawn from the dots of the regular weight.

    Raises:
        DataError: There is no such face, or it has no glyph for a character.
    """
    if face not in FACES:
        raise DataError(f"no face {face!r}. {did_you_mean(face, FACES)}")
    return _bitmap(text, "bold" if face == "bold" else "regular")


@lru_cache(maxsize=1 << 10)
def _bitmap(text: str, weight: str) -> NDArray[np.bool_]:
    return text_bitmap(text, weight)


def draw_signs(pixels: UInt8[np.ndarray, "Hp Wp 3"], signs: tuple[Sign, ...]) -> UInt8[np.ndarray, "Hp Wp 3"]:
    """A copy of an image with signs drawn over it; later signs are drawn over earlier ones.

    Raises:
        DataError: A sign's text does not fit into its panel, its panel is not inside the image, or a colour, face or
            character is unknown.
    """
    drawn = pixels.copy()
    for sign in signs:
        _draw(drawn, sign)
    return drawn


def _draw(pixels: NDArray[np.uint8], sign: Sign) -> None:
    """Draws one sign into `pixels`."""
    ink, ground = _rgb(sign, "ink"), _rgb(sign, "ground")
    if sign.ink == sign.ground:
        raise DataError(
            f"the sign {sign.text!r} has {sign.ink} letters on a {sign.ground} ground; use two colours."
        )
    window, ink_samples, ground_samples = coverage(sign, pixels.shape[:2])

    # Average the colours of each pixel's samples, with rounding.
    num_samples = SAMPLES * SAMPLES
    num_ink = ink_samples.astype(np.int32)[..., None]
    num_ground = ground_samples.astype(np.int32)[..., None]
    mixed = pixels[window] * (num_samples - num_ink - num_ground)
    mixed += num_ink * np.array(ink, np.int32) + num_ground * np.array(ground, np.int32) + num_samples // 2
    pixels[window] = mixed // num_samples


def _rgb(sign: Sign, field: str) -> tuple[int, int, int]:
    name = getattr(sign, field)
    if name not in COLORS:
        raise DataError(f"the sign {sign.text!r}: no {field} {name!r}. {did_you_mean(name, COLORS)}")
    return COLORS[name]


def coverage(sign: Sign, size: tuple[int, int]) -> tuple[Window, NDArray[np.uint8], NDArray[np.uint8]]:
    """Number of samples in each pixel that are on the letters or the frame, and on the ground.

    Args:
        sign: The sign.
        size: Height and width of the image in pixels.

    Returns:
        The window of pixels that the sign may touch, and the numbers for ink and for ground, 0 to 16, ``h x w``.

    Raises:
        DataError: The text does not fit into the panel, or the panel is not inside the image.
    """
    window = _window(sign, size)
    across, down = local_positions(sign, window)

    is_framed = _is_inside(across, down, sign, FRAME)
    is_on_panel = _is_inside(across, down, sign, 0)
    is_ink = is_framed & ~is_on_panel | _is_letter(sign, across, down)
    is_ground = is_on_panel & ~is_ink
    return window, _by_pixel(is_ink), _by_pixel(is_ground)


def letter_coverage(sign: Sign, window: Window) -> NDArray[np.uint8]:
    """Number of samples in each pixel of a window that are on the letters of a sign, 0 to 16, ``h x w``.

    Raises:
        DataError: The text does not fit into the panel.
    """
    across, down = local_positions(sign, window)
    return _by_pixel(_is_letter(sign, across, down))


def _is_letter(sign: Sign, across: NDArray[np.int32], down: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether each sample is on a letter, given the samples' positions in the panel."""
    # Look up the dot of each sample within the text; places outside the text fall on its empty border.
    dots = letters(sign.text, sign.face)
    left, top = text_corner(sign, dots.shape)
    rows, columns = dot_places(across - left, down - top, sign.face, sign.dot)
    bordered = np.pad(dots, 1)
    is_letter: NDArray[np.bool_] = bordered[
        np.clip(rows + 1, 0, dots.shape[0] + 1), np.clip(columns + 1, 0, dots.shape[1] + 1)
    ]
    return is_letter


def _by_pixel(samples: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Number of true samples in each pixel, ``h x w``, given the samples ``4 h x 4 w``."""
    height, width = samples.shape
    by_row = samples.view(np.uint8).reshape(height // SAMPLES, SAMPLES, width).sum(1, dtype=np.uint8)
    by_pixel: NDArray[np.uint8] = by_row.reshape(len(by_row), -1, SAMPLES).sum(2, dtype=np.uint8)
    return by_pixel


def _is_inside(
    across: NDArray[np.int32], down: NDArray[np.int32], sign: Sign, grow: int
) -> NDArray[np.bool_]:
    """Whether each sample is inside the panel, after widening it by `grow` sixteenths of a pixel."""
    inside_across = (across >= -grow) & (across < sign.width + grow)
    inside: NDArray[np.bool_] = inside_across & (down >= -grow) & (down < sign.height + grow)
    return inside


def _window(sign: Sign, size: tuple[int, int]) -> Window:
    half_width, half_height = half_extents(sign.width, sign.height, sign.angle)
    left, right = (sign.x - half_width) // UNIT, -(-(sign.x + half_width) // UNIT)
    top, bottom = (sign.y - half_height) // UNIT, -(-(sign.y + half_height) // UNIT)
    height, width = size
    if left < 0 or top < 0 or right > width or bottom > height:
        raise DataError(
            f"the sign {sign.text!r} reaches from ({left}, {top}) to ({right}, {bottom}), outside the image of "
            f"{width} x {height} pixels."
        )
    return slice(top, bottom), slice(left, right)


def half_extents(width: int, height: int, angle: int) -> tuple[int, int]:
    """Half the width and height of the upright rectangle around a turned panel with its frame, in sixteenths of a pixel."""
    half_width, half_height = width // 2 + FRAME, height // 2 + FRAME
    cos, sin = abs(cosine(angle)), abs(sine(angle))
    across = half_width * cos + half_height * sin
    down = half_width * sin + half_height * cos
    return -(-across >> SINE_BITS), -(-down >> SINE_BITS)


def local_positions(sign: Sign, window: Window) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Positions of all samples of a window from the panel's left and from its top edge, as its reader sees them.

    Both have the shape ``4 h x 4 w`` if the sign is turned; otherwise, they are ``1 x 4 w`` and ``4 h x 1``.
    """
    rows, columns = window
    first = _STEP // 2
    x = np.arange(columns.start * UNIT + first, columns.stop * UNIT, _STEP, dtype=np.int32) - sign.x
    y = np.arange(rows.start * UNIT + first, rows.stop * UNIT, _STEP, dtype=np.int32) - sign.y

    if not sign.angle:
        return x[None] + sign.width // 2, y[:, None] + sign.height // 2
    cos, sin = cosine(sign.angle), sine(sign.angle)
    across = (x * cos)[None] + (y * sin)[:, None] >> SINE_BITS
    down = (y * cos)[:, None] - (x * sin)[None] >> SINE_BITS
    return across + sign.width // 2, down + sign.height // 2


def text_corner(sign: Sign, shape: tuple[int, ...]) -> tuple[int, int]:
    """Left and top of the text in its panel, in sixteenths of a pixel: in the middle, rounded down to whole pixels.

    Args:
        sign: The sign.
        shape: Height and width of the text in dots.

    Raises:
        DataError: The text does not fit into the panel.
    """
    height, width = shape[0] * sign.dot, shape[1] * sign.dot
    if width > sign.width or height > sign.height:
        raise DataError(
            f"the text {sign.text!r} is {width / UNIT:g} x {height / UNIT:g} pixels at this size, but its panel has only "
            f"{sign.width / UNIT:g} x {sign.height / UNIT:g}; use smaller letters or a larger panel."
        )
    return (sign.width - width) // 2 // UNIT * UNIT, (sign.height - height) // 2 // UNIT * UNIT


def dot_places(
    across: NDArray[np.int32], down: NDArray[np.int32], face: str, dot: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Row and column of the dot at each position, given from the text's left and top; some are outside the text."""
    rows = down // dot
    if face == "slanted":
        # The middle of each line stays in place, the parts above move to the right.
        from_middle = down % (CELL_HEIGHT * dot) - CELL_HEIGHT * dot // 2
        across = across + from_middle // _SLOPE
    return rows, across // dot


def region_of(sign: Sign, size: tuple[int, int]) -> TextRegion:
    """The place, colours and text of a sign; its box is the panel without the frame.

    Args:
        sign: The sign.
        size: Width and height of the image in pixels.
    """
    left, top = (sign.x - sign.width // 2) / UNIT, (sign.y - sign.height // 2) / UNIT
    box = (left, top, left + sign.width / UNIT, top + sign.height / UNIT)
    return TextRegion.of_pixels(
        sign.text, box, size, angle=-sign.angle, ink=COLORS[sign.ink], ground=COLORS[sign.ground]
    )


def with_text(sign: Sign, text: str, language: str) -> Sign:
    """The same sign with another text."""
    return replace(sign, text=text, language=language)
