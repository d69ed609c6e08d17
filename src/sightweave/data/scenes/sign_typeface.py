"""Our own bitmap face as a typeface for replacing words in images, so that the template reader can read them back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion
from sightweave.data.scenes.face import CELL_HEIGHT, FACE
from sightweave.data.scenes.lettering import (
    DOTS,
    FACES,
    SAMPLES,
    dot_places,
    letters,
    local_positions,
    text_corner,
)
from sightweave.data.scenes.scene import UNIT, Sign
from sightweave.rendering.areas import Area
from sightweave.rendering.typefaces import too_long

NAMES = {FACE: "regular", **{f"{FACE} {face}": face for face in FACES}}
"""Faces by the names with which writers choose them."""


class SignTypeface:
    """Draws letters as on the signs of scenes, in the largest of their sizes that fits.

    Args:
        face: ``regular``, ``bold`` or ``slanted``.
    """

    def __init__(self, face: str = "regular") -> None:
        self.face = face

    def cover(
        self, region: TextRegion, area: Area, *, min_size: int, max_size: int
    ) -> UInt8[np.ndarray, "H W"]:
        """How much of each pixel of an area is covered by the letters, 0 to 255.

        Args:
            region: The text, in a box that is upright or turned by whole degrees; it is centred.
            area: The pixels of the region.
            min_size: Minimum height of a line in pixels.
            max_size: Maximum height of a line in pixels.

        Raises:
            DataError: The text does not fit at the minimum size, a character is missing, or the region is between four
                corners.
        """
        if region.corners is not None:
            raise DataError(
                f"region with the text {region.text[:40]!r}: the face {FACE!r} cannot be drawn in perspective; use a font, "
                "or a box with an angle."
            )
        width, height = round(area.width * UNIT), round(area.height * UNIT)
        for dot in sorted(DOTS, reverse=True):
            if not min_size <= CELL_HEIGHT * dot / UNIT <= max_size:
                continue
            for text in _broken(region.text.strip()):
                rows, columns = letters(text, self.face).shape
                if columns * dot <= width and rows * dot <= height:
                    return self._drawn(text, region, area, dot)
        raise too_long(region, area, min_size)

    def _drawn(self, text: str, region: TextRegion, area: Area, dot: int) -> UInt8[np.ndarray, "H W"]:
        left, top, right, bottom = area.box
        x, y = (left + right) / 2, (top + bottom) / 2
        if area.corners is not None:
            x, y = area.corners.mean(0)
        sign = Sign(
            *(text, "", self.face, dot, "", ""),
            x=round(x * UNIT),
            y=round(y * UNIT),
            width=round(area.width * UNIT),
            height=round(area.height * UNIT),
            angle=-round(region.angle),
        )

        # Look up the dot of each sample, as for the signs of scenes.
        dots = letters(text, self.face)
        across, down = local_positions(sign, (slice(top, bottom), slice(left, right)))
        first = text_corner(sign, dots.shape)
        rows, columns = dot_places(across - first[0], down - first[1], self.face, dot)
        bordered = np.pad(dots, 1)
        is_ink = bordered[np.clip(rows + 1, 0, dots.shape[0] + 1), np.clip(columns + 1, 0, dots.shape[1] + 1)]

        by_pixel = is_ink.reshape(bottom - top, SAMPLES, right - left, SAMPLES).sum((1, 3))
        covered: UInt8[np.ndarray, "H W"] = (by_pixel * 255 // SAMPLES**2).astype(np.uint8) * area.mask
        return covered


def _broken(text: str) -> Iterator[str]:
    """The text as it is, and then with a line break at each of its spaces."""
    yield text
    if "\n" not in text:
        spaces = [number for number, character in enumerate(text) if character == " "]
        # Lines of nearly equal length come first.
        for number in sorted(spaces, key=lambda number: abs(2 * number - len(text))):
            yield f"{text[:number]}\n{text[number + 1 :]}"
