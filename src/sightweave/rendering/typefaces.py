"""Typefaces draw a text into an area as large as it fits; fonts are one kind, and other code can supply its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion
from sightweave.rendering import fonts
from sightweave.rendering.areas import Area
from sightweave.rendering.fitting import fit


class Typeface(Protocol):
    """Draws letters."""

    def cover(
        self, region: TextRegion, area: Area, *, min_size: int, max_size: int
    ) -> UInt8[np.ndarray, "H W"]:
        """How much of each pixel of an area's bounding box is covered by the letters of a text, 0 to 255.

        Args:
            region: The text, which is not blank, with its alignment.
            area: The pixels of the region; pixels outside it must be 0.
            min_size: Minimum font size in pixels.
            max_size: Maximum font size in pixels.

        Raises:
            DataError: The text does not fit at the minimum size, or a character is missing.
        """
        ...


class Fonts:
    """Draws each text with the first font that has all of its characters.

    Args:
        names: Paths of font files, or names such as ``DejaVu Serif``. The default font follows, and an installed font for
            Chinese, Japanese and Korean.

    Raises:
        DataError: A font does not exist, or its file is not a font.
    """

    def __init__(self, names: Sequence[str | Path] = ()) -> None:
        fonts.check_fonts(names)
        self.names = tuple(names)

    def cover(
        self, region: TextRegion, area: Area, *, min_size: int, max_size: int
    ) -> UInt8[np.ndarray, "H W"]:
        """As for `Typeface`.

        Raises:
            DataError: As for `Typeface`.
            BackendError: The text needs Raqm, and Pillow was built without it.
        """
        text = fonts.normalized(region.text).strip()
        path = fonts.font_for(text, self.names)
        width, height = area.upright_size
        smallest, largest = min_size * area.scale, max_size * area.scale
        try:
            fitted = fit(
                text, width, height, font=path, align=region.align, min_size=smallest, max_size=largest
            )
        except DataError:
            raise too_long(region, area, min_size) from None
        return area.project(fitted.draw())


def too_long(region: TextRegion, area: Area, min_size: int) -> DataError:
    """The error for a text that does not fit into its box."""
    box = tuple(round(edge, 3) for edge in region.box)
    return DataError(
        f"the text {region.text[:60]!r} does not fit into its box {box} of {area.width:.0f} x {area.height:.0f} pixels even "
        f"at the minimum font size of {min_size} pixels; make the box larger, the text shorter, or lower min_size."
    )
