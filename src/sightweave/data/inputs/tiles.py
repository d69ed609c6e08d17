"""Splits large images into a thumbnail of the whole image and a grid of tiles, each encoded as a separate image.

How Far Are We to GPT-4V? Closing the Gap to Commercial Multimodal Models with Open-Source Suites (InternVL 1.5, Chen et
al. 2024, arXiv:2404.16821), section 3.3; choosing the grid by the image's size goes back to Improved Baselines with Visual
Instruction Tuning (Liu et al. 2023, arXiv:2310.03744), appendix A.2, and LLaVA-NeXT. In contrast to InternVL, the thumbnail
comes first, aspects are compared as ratios (so that an image rotated by 90 degrees gets the same grid, also rotated), and
each tile is cut before it is resized. There is no separator token between rows of tiles; only their order gives their
positions.

A grid of 2 rows and 3 columns has this order::

    thumbnail   0,0  0,1  0,2
                1,0  1,1  1,2
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from sightweave.core.config import config
from sightweave.core.types import Medium, MediumInfo, Part, Sample
from sightweave.data.inputs import image_files

_MAX_ENLARGEMENT = 2.0
"""Maximum number of pixels of a grid, as a multiple of the image's own; a larger grid would only enlarge the image."""


@config
class Tiles:
    """Settings for splitting large images into tiles."""

    max_tiles: Annotated[int, Field(le=1000)] = 0
    """Maximum number of tiles per image, not counting the thumbnail; 0 and 1 disable tiling."""
    min_side: int = 0
    """Images whose longer side is at most this many pixels are not tiled; images that fit the encoder's square never are."""

    def __post_init__(self) -> None:
        for name in ("max_tiles", "min_side"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: must not be negative (got {getattr(self, name)}).")


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """The source of a tile's `Medium`: calling it cuts the tile from its image."""

    parent: Medium
    """The whole image."""
    row: int
    """Row of the tile, counted from 0 at the top."""
    column: int
    """Column of the tile, counted from 0 on the left."""
    rows: int
    """Number of rows in the grid."""
    columns: int
    """Number of columns in the grid."""

    @property
    def name(self) -> str:
        """Name of the tile: its position and its grid, such as ``tile0,1/2x3``."""
        return f"tile{self.row},{self.column}/{self.rows}x{self.columns}"

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the tile in pixels, in an image of the given size.

        The tiles of a grid neither overlap nor leave gaps.
        """
        return (
            self.column * width // self.columns,
            self.row * height // self.rows,
            (self.column + 1) * width // self.columns,
            (self.row + 1) * height // self.rows,
        )

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """Cuts the tile from the pixels of its image, H W 3; returns a view."""
        left, top, right, bottom = self.box(pixels.shape[1], pixels.shape[0])
        return pixels[top:bottom, left:right]

    def __call__(self) -> np.ndarray:
        """Decodes the image and returns the tile's pixels, uint8 H W 3.

        Raises:
            MediaError: The image cannot be read.
        """
        return np.ascontiguousarray(self.cut(image_files.load(self.parent)))


def grid(width: int, height: int, side: int, max_tiles: int) -> tuple[int, int]:
    """Chooses the grid for an image: the one with the closest aspect ratio or, among equals, with the most tiles.

    Args:
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        side: Side of the encoder's square in pixels.
        max_tiles: Maximum number of tiles (rows times columns).

    Returns:
        Rows and columns; (1, 1) if the image is not tiled, because it fits the square, or because every grid with a closer
        aspect ratio would have more than twice the image's pixels.
    """
    best = (1, 1)
    if max(width, height) <= side:
        return best

    allowed = min(max_tiles, int(_MAX_ENLARGEMENT * width * height / side**2))
    nearest = (round(abs(math.log(width / height)), 9), -1)
    for rows in range(1, allowed + 1):
        for columns in range(1, allowed // rows + 1):
            distance = abs(math.log(width * rows / (height * columns)))
            # Round, so that 2 x 2 and 3 x 3 are equally close despite floating-point errors.
            candidate = (round(distance, 9), -rows * columns)
            if candidate < nearest:
                best, nearest = (rows, columns), candidate

    return best


Probe = Callable[[Medium], MediumInfo]
"""A function that returns the size of an image, such as `image_files.probe`, which reads its header."""


def expand(sample: Sample, *, side: int, tiles: Tiles, probe: Probe = image_files.probe) -> Sample:
    """Inserts the tiles of each large image after the image; the sample's regions still refer to the whole image.

    Target images are not tiled.

    Args:
        sample: Any sample; a sample without large images is returned unchanged.
        side: Side of the encoder's square in pixels.
        tiles: Settings for splitting images.
        probe: Returns the size of an image.

    Raises:
        MediaError: An image header cannot be read.
    """
    parts: list[Part] = []
    for part in sample.parts:
        parts.append(part)
        if isinstance(part.content, Medium) and not part.learn:
            shown = pieces(part.content, side=side, tiles=tiles, probe=probe)
            parts += [dataclasses.replace(part, content=medium) for medium in shown[1:]]

    return sample if len(parts) == len(sample.parts) else dataclasses.replace(sample, parts=tuple(parts))


def pieces(medium: Medium, *, side: int, tiles: Tiles, probe: Probe = image_files.probe) -> list[Medium]:
    """A list of the image and, if it is large, its tiles; arguments and errors are as for `expand`."""
    if tiles.max_tiles < 2 or medium.modality != "image" or isinstance(medium.source, Tile):
        return [medium]

    info = probe(medium)
    if max(info.width, info.height) <= tiles.min_side:
        return [medium]
    return [medium, *cut(medium, *grid(info.width, info.height, side, tiles.max_tiles))]


def cut(medium: Medium, rows: int, columns: int) -> list[Medium]:
    """The tiles of an image in reading order; an empty list for a grid of 1 x 1."""
    if rows * columns == 1:
        return []

    found: list[Medium] = []
    for row in range(rows):
        for column in range(columns):
            tile = Tile(medium, row, column, rows, columns)
            found.append(Medium(tile, key=f"{medium.key}#{tile.name}", modality=medium.modality))
    return found


def whole(medium: Medium) -> Medium:
    """The image from which a tile was cut; any other medium is returned unchanged."""
    return medium.source.parent if isinstance(medium.source, Tile) else medium
