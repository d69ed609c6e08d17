"""Large pictures in pieces: the whole as a thumbnail, then a grid of tiles, each read like a picture of its own.

How Far Are We to GPT-4V? Closing the Gap to Commercial Multimodal Models with Open-Source Suites (InternVL 1.5, Chen et
al. 2024, arXiv:2404.16821), section 3.3; a grid chosen by the picture's size goes back to Improved Baselines with Visual
Instruction Tuning (Liu et al. 2023, arXiv:2310.03744), appendix A.2, and LLaVA-NeXT. Differs from InternVL: the thumbnail
comes first, aspects are compared as ratios (so that a picture on its side gets the same grid on its side), and each tile
is cut before it is resized. Nothing stands between two rows of tiles: their order says where each lies.

A grid of 2 rows and 3 columns is read in this order::

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

_ENLARGED = 2.0
"""A grid has at most this many times the pixels of the picture: more would only show them larger."""


@config
class Tiles:
    """How large images are split into tiles."""

    max_tiles: Annotated[int, Field(le=1000)] = 0
    """Maximum tiles per image, not counting the thumbnail; 0 and 1 disable tiling."""
    min_side: int = 0
    """Longer side in pixels up to which an image is not tiled; images that fit the encoder's square never are."""

    def __post_init__(self) -> None:
        for name in ("max_tiles", "min_side"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: must not be negative (got {getattr(self, name)}).")


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """The source of a tile's `Medium`: cut from its picture when it is called, and not before."""

    parent: Medium
    """The whole picture."""
    row: int
    """From 0, downwards."""
    column: int
    """From 0, to the right."""
    rows: int
    """Of the grid."""
    columns: int
    """Of the grid."""

    @property
    def name(self) -> str:
        """Which tile of which grid, such as ``tile0,1/2x3``."""
        return f"tile{self.row},{self.column}/{self.rows}x{self.columns}"

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in pixels of a picture of this size; tiles neither overlap nor leave gaps."""
        return (
            self.column * width // self.columns,
            self.row * height // self.rows,
            (self.column + 1) * width // self.columns,
            (self.row + 1) * height // self.rows,
        )

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """The tile of the picture's pixels: a view of H W 3."""
        left, top, right, bottom = self.box(pixels.shape[1], pixels.shape[0])
        return pixels[top:bottom, left:right]

    def __call__(self) -> np.ndarray:
        """The tile's pixels, uint8 H W 3; the picture is decoded for it.

        Raises:
            MediaError: the picture cannot be read.
        """
        return np.ascontiguousarray(self.cut(image_files.load(self.parent)))


def grid(width: int, height: int, side: int, max_tiles: int) -> tuple[int, int]:
    """Rows and columns for a picture: the grid of nearest aspect, and of those the one with most tiles.

    Args:
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        side: Of the encoder's square, in pixels.
        max_tiles: Rows times columns at most.

    Returns:
        (1, 1) where the picture stays whole: it fits the square, or no larger grid is nearer to its aspect without
        having more than twice its pixels.
    """
    best = (1, 1)
    if max(width, height) <= side:
        return best
    room = min(max_tiles, int(_ENLARGED * width * height / side**2))
    nearest = (round(abs(math.log(width / height)), 9), -1)
    for rows in range(1, room + 1):
        for columns in range(1, room // rows + 1):
            distance = abs(math.log(width * rows / (height * columns)))
            # Rounded, so that 2 x 2 and 3 x 3 are equally near whatever the last bit says.
            mark = (round(distance, 9), -rows * columns)
            if mark < nearest:
                best, nearest = (rows, columns), mark
    return best


Probe = Callable[[Medium], MediumInfo]
"""Gives a picture's size; `image_files.probe` reads its header."""


def expand(sample: Sample, *, side: int, tiles: Tiles, probe: Probe = image_files.probe) -> Sample:
    """The sample with every large picture of it followed by its tiles; regions stay with the thumbnail.

    Args:
        sample: Any; one without large pictures comes back itself.
        side: Of the encoder's square, in pixels.
        tiles: How large images are split into tiles.
        probe: Gives a picture's size.

    Raises:
        MediaError: a header cannot be read.
    """
    parts: list[Part] = []
    for part in sample.parts:
        parts.append(part)
        if isinstance(part.content, Medium):
            shown = pieces(part.content, side=side, tiles=tiles, probe=probe)
            parts += [dataclasses.replace(part, content=medium) for medium in shown[1:]]
    return sample if len(parts) == len(sample.parts) else dataclasses.replace(sample, parts=tuple(parts))


def pieces(medium: Medium, *, side: int, tiles: Tiles, probe: Probe = image_files.probe) -> list[Medium]:
    """A picture, and behind it its tiles where it is large; arguments as in `expand`."""
    if tiles.max_tiles < 2 or medium.modality != "image" or isinstance(medium.source, Tile):
        return [medium]
    info = probe(medium)
    if max(info.width, info.height) <= tiles.min_side:
        return [medium]
    return [medium, *cut(medium, *grid(info.width, info.height, side, tiles.max_tiles))]


def cut(medium: Medium, rows: int, columns: int) -> list[Medium]:
    """The tiles of a picture in reading order; none for a grid of one."""
    if rows * columns == 1:
        return []
    tiles = [Tile(medium, row, column, rows, columns) for row in range(rows) for column in range(columns)]
    return [Medium(tile, key=f"{medium.key}#{tile.name}", modality=medium.modality) for tile in tiles]


def whole(medium: Medium) -> Medium:
    """The picture that a tile belongs to; any other medium is its own."""
    return medium.source.parent if isinstance(medium.source, Tile) else medium
