"""Sets the words of any image in our own bitmap face, so that the template reader can read them back.

`BitmapFace` is a typeface for `rendering.render`: ``render(image, regions, font=BitmapFace())``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from sightweave.core.errors import DataError, did_you_mean
from sightweave.core.text_regions import TextRegion
from sightweave.data.scenes.face import CELL_HEIGHT
from sightweave.data.scenes.lettering import FACES, SAMPLES, letter_coverage, letters
from sightweave.data.scenes.scene import UNIT, Sign
from sightweave.rendering.areas import Area

_DOTS = (16, 20, 24, 32, 48, 64, 96, 128)
"""Sides of a dot in sixteenths of a pixel."""


class BitmapFace:
    """Draws letters of our own face, as large as they fit, on one or two lines.

    Args:
        face: One of `lettering.FACES`.

    Raises:
        DataError: The face is unknown.
    """

    def __init__(self, face: str = "regular") -> None:
        if face not in FACES:
            raise DataError(f"no face {face!r}. {did_you_mean(face, FACES)}")
        self.face = face

    def cover(
        self, region: TextRegion, area: Area, *, min_size: int, max_size: int
    ) -> UInt8[np.ndarray, "H W"]:
        """How much of each pixel of an area's bounding box is covered by letters, 0 to 255.

        The angle is rounded to whole degrees. Lines are centred.

        Args:
            region: The text.
            area: The pixels of the region.
            min_size: Minimum height of a line in pixels.
            max_size: Maximum height of a line in pixels.

        Raises:
            DataError: The text does not fit at the minimum size, or a character is missing.
        """
        rows, columns = area.mask.shape
        sign = self._sign(region, area)
        best: Sign | None = None
        for text in _broken(" ".join(region.text.split())):
            for dot in _DOTS:
                shape = letters(text, self.face).shape
                is_allowed = min_size * UNIT <= CELL_HEIGHT * dot <= max_size * UNIT
                fits = shape[1] * dot <= sign.width and shape[0] * dot <= sign.height
                if is_allowed and fits and (best is None or dot > best.dot):
                    best = replace(sign, text=text, dot=dot)

        if best is None:
            raise DataError(
                f"the text {region.text[:60]!r} does not fit into its box of {area.width:.0f} x {area.height:.0f} pixels "
                f"in the face {self.face!r}, whose smallest line is {max(CELL_HEIGHT, min_size)} pixels high; make the "
                "box larger or the text shorter."
            )
        window = (slice(area.top, area.top + rows), slice(area.left, area.left + columns))
        covered = letter_coverage(best, window).astype(np.uint16) * 255 // SAMPLES**2
        coverage: UInt8[np.ndarray, "H W"] = covered.astype(np.uint8) * area.mask
        return coverage

    def _sign(self, region: TextRegion, area: Area) -> Sign:
        """A sign without a text in the place of an area."""
        width, height = round(area.width * UNIT), round(area.height * UNIT)
        if area.corners is None:
            left, top = area.left * UNIT, area.top * UNIT
            return Sign(
                "", "", self.face, _DOTS[0], "", "", left + width // 2, top + height // 2, width, height, 0
            )

        x, y = area.corners.mean(0) * UNIT
        edge = area.corners[1] - area.corners[0]
        angle = round(float(np.degrees(np.arctan2(edge[1], edge[0]))))
        return Sign("", "", self.face, _DOTS[0], "", "", round(x), round(y), width, height, angle)


def _broken(text: str) -> Iterator[str]:
    """A text on one line, then with a line break in place of each space in turn."""
    yield text
    for place, character in enumerate(text):
        if character == " ":
            yield f"{text[:place]}\n{text[place + 1 :]}"
