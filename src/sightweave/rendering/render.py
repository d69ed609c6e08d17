"""Replaces the words in an image: takes the old ones out of their regions and sets the new ones in.

Only pixels of the regions change; all others, the size and the mode of the image are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageOps

from sightweave.core.errors import DataError
from sightweave.core.text_regions import Color, TextRegion
from sightweave.core.types import Rendered
from sightweave.rendering import colors
from sightweave.rendering.areas import Area, area_of
from sightweave.rendering.canvas import Canvas
from sightweave.rendering.erasing import spread_inward
from sightweave.rendering.typefaces import Fonts, Typeface

MIN_SIZE = 8
"""Default minimum font size in pixels."""
MAX_SIZE = 2000
"""Default maximum font size in pixels."""
_MARGIN = 1
"""Pixels around a region whose colours spread into it."""
_MOST_INK = 0.25
"""Share of the pixels next to a region from which those that look like ink count as surroundings."""
_FRAME = 0.5
"""Share above which they are a frame in the colour of the letters."""
_NEAR_INK = 0.2
"""Share of the way from the ground's colour to the ink's from which a pixel looks like ink."""
_Box = tuple[int, int, int, int]


def render(
    picture: Image.Image,
    regions: Sequence[TextRegion],
    *,
    font: str | Path | Sequence[str | Path] | Typeface = (),
    min_size: int = MIN_SIZE,
    max_size: int = MAX_SIZE,
    skip_faults: bool = False,
) -> Rendered:
    """Replaces the words in regions of an image.

    All old words are removed before the first new one is drawn, so regions may overlap.

    Args:
        picture: The image; it is not changed. An EXIF rotation is applied first, because regions refer to the upright image.
        regions: New texts with their places.
        font: A font or several, tried in turn for each text: paths of files, or names such as ``DejaVu Serif Bold``. The
            default is DejaVu Sans, and an installed font for Chinese, Japanese and Korean. Or a `Typeface`.
        min_size: Minimum font size in pixels.
        max_size: Maximum font size in pixels.
        skip_faults: Whether to leave out regions that cannot be drawn, and to return what is wrong with them.

    Returns:
        The new image, and one sentence for each region that was left out.

    Raises:
        DataError: A region reaches outside the image, a text does not fit at the minimum size, or no font has all
            characters; with `skip_faults`, only if a font does not exist.
        BackendError: A text needs Raqm, and Pillow was built without it.
        MediaError: Words cannot be replaced in an image of this mode.
    """
    typeface = _typeface(font)
    upright = ImageOps.exif_transpose(picture)
    canvas = Canvas(upright)

    # Fit all texts first, so that a region with a fault keeps its old words.
    found: list[tuple[TextRegion, Area, UInt8[np.ndarray, "H W"] | None]] = []
    faults: list[str] = []
    for region in regions:
        try:
            area = area_of(region, upright.size)
            covered = None
            if region.text.strip():
                covered = typeface.cover(region, area, min_size=min_size, max_size=max_size)
            found.append((region, area, covered))
        except DataError as error:
            if not skip_faults:
                raise
            faults.append(str(error))

    # Take the old words out, then set the new ones in.
    erased = _union([area for _, area, _ in found], upright.size)
    cleaned = [_erase(canvas, region, area, erased) for region, area, _ in found]
    for (_, area, _), (_, surface) in zip(found, cleaned, strict=True):
        canvas.put(area.box, surface, area.mask)
    for (_, area, covered), (ink, _) in zip(found, cleaned, strict=True):
        if covered is not None:
            _draw(canvas, area, covered, ink)

    return Rendered(canvas.picture, tuple(faults))


def _typeface(font: str | Path | Sequence[str | Path] | Typeface) -> Typeface:
    if isinstance(font, str | Path):
        return Fonts((font,))
    return Fonts(font) if isinstance(font, Sequence) else font


def _union(areas: Sequence[Area], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """The pixels of all areas in the image."""
    width, height = size
    union = np.zeros((height, width), bool)
    for area in areas:
        left, top, right, bottom = area.box
        union[top:bottom, left:right] |= area.mask
    return union


def _erase(
    canvas: Canvas, region: TextRegion, area: Area, erased: Bool[np.ndarray, "H W"]
) -> tuple[Color, Float32[np.ndarray, "h w C"]]:
    """The ink of a region, and the values of its bounding box without the old words."""
    old_ink, old_ground = colors.dominant(canvas.rgb(area.box), area.mask)
    if region.ground is not None:
        shape = (*area.mask.shape, 1)
        surface = np.tile(canvas.color(region.ground), shape)
        return region.ink or colors.readable(old_ink, region.ground), surface

    # Read the region with a margin, from whose pixels the colours spread inward.
    left, top, right, bottom = area.box
    height, width = erased.shape
    around: _Box = (
        max(left - _MARGIN, 0),
        max(top - _MARGIN, 0),
        min(right + _MARGIN, width),
        min(bottom + _MARGIN, height),
    )
    rows = slice(top - around[1], bottom - around[1])
    columns = slice(left - around[0], right - around[0])
    inside = np.zeros((around[3] - around[1], around[2] - around[0]), bool)
    inside[rows, columns] = area.mask
    is_known = ~erased[around[1] : around[3], around[0] : around[2]]
    is_known = _sources(canvas.rgb(around), inside, is_known, old_ink, old_ground)

    values = canvas.values(around)
    if is_known.any():
        values = spread_inward(values, is_known)
    else:
        values[:] = np.median(values, axis=(0, 1))
    return region.ink or colors.readable(old_ink, old_ground), values[rows, columns]


def _sources(
    pixels: UInt8[np.ndarray, "H W 3"],
    inside: Bool[np.ndarray, "H W"],
    is_known: Bool[np.ndarray, "H W"],
    ink: Color | None,
    ground: Color,
) -> Bool[np.ndarray, "H W"]:
    """The pixels whose colours spread into a region.

    These are the pixels around it, except for a few that look like ink, which belong to letters that reach out of a tight
    box. If most of those next to it look like ink, it has a frame in the colour of its letters, and the pixels along its
    inner edge are used instead.

    Args:
        pixels: The region with its margin, in RGB.
        inside: The pixels of the region.
        is_known: The pixels outside all regions.
        ink: Colour of the old words; None if there are none.
        ground: Colour behind the old words.
    """
    if ink is None:
        return is_known
    # Blurred edges of letters lie between the two colours, so count pixels that are a fifth of the way to the ink.
    way = np.subtract(ink, ground).astype(np.float32)
    is_ink = (pixels - np.array(ground, np.float32)) @ way > _NEAR_INK * (way @ way)

    next_to_it = colors.dilated(inside) & is_known
    share = is_ink[next_to_it].mean() if next_to_it.any() else 0.0
    if share > _FRAME:
        edge = inside & ~colors.eroded(inside) & ~is_ink
        return edge if edge.any() else is_known
    return is_known & ~is_ink if share < _MOST_INK else is_known


def _draw(canvas: Canvas, area: Area, covered: UInt8[np.ndarray, "H W"], ink: Color) -> None:
    """Draws letters over the pixels of an area."""
    box, (rows, columns) = _covered(area, covered)
    coverage = covered[rows, columns, None].astype(np.float32) / 255
    under, over = canvas.values(box), canvas.color(ink)
    if canvas.has_alpha:
        # Letters on a transparent ground must not take on the invisible colour below them.
        alpha = under[:, :, -1:] / 255
        shown = coverage + alpha * (1 - coverage)
        mixed = (over * coverage + under * alpha * (1 - coverage)) / np.maximum(shown, 1e-6)
        mixed[:, :, -1:] = shown * 255
    else:
        mixed = over * coverage + under * (1 - coverage)
    canvas.put(box, mixed, coverage[:, :, 0] > 0)


def _covered(area: Area, coverage: UInt8[np.ndarray, "H W"]) -> tuple[_Box, tuple[slice, slice]]:
    """The part of an area that has letters: its box in the image, and its rows and columns in the area."""
    rows, columns = (np.flatnonzero(coverage.any(axis)) for axis in (1, 0))
    if not len(rows):
        return (area.left, area.top, area.left + 1, area.top + 1), (slice(0, 1), slice(0, 1))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    box = (area.left + left, area.top + top, area.left + right, area.top + bottom)
    return box, (slice(top, bottom), slice(left, right))
