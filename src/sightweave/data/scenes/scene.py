"""Data classes of a scene: things on a background, all in integers, so that every machine draws the same pixels."""

from __future__ import annotations

from dataclasses import dataclass

SIDE = 96
"""Side of the square image in pixels."""
UNIT = 16
"""Steps per pixel: positions and sizes are in sixteenths of a pixel."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing in a scene."""

    name: str
    """A shape (``circle``) or a pictogram (``dog``; for a homonym its sense, ``bat_animal``)."""
    is_shape: bool
    color: str
    """Colour word of a shape; empty for a pictogram, which has its own colours."""
    rgb: tuple[int, int, int]
    """The jittered colour of a shape, 0 to 255; for a pictogram a small shift of each channel, -18 to 18."""
    fill: str
    """``solid`` or ``striped``; empty for a pictogram."""
    size: str
    """``small`` or ``big``."""
    x: int
    """Centre, in sixteenths of a pixel from the left."""
    y: int
    """Centre, in sixteenths of a pixel from the top."""
    side: int
    """Side of its square, in sixteenths of a pixel."""
    angle: int
    """Rotation in degrees, -12 to 12, clockwise."""


@dataclass(frozen=True, slots=True)
class Background:
    """The background behind the things; always pale."""

    kind: str
    """``plain``, ``gradient`` (four corner colours) or ``noise`` (smooth)."""
    colors: tuple[tuple[int, int, int], ...]
    """One colour for ``plain``, the four corners for ``gradient``, and a 5 x 5 lattice row by row for ``noise``."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The description of an image: the same scene always gives the same pixels."""

    key: str
    """``scenes/<seed>/<split>/<index>``."""
    split: str
    """``train``, ``scenes`` (held-out scenes), ``combinations`` (held-out combinations) or ``validation``."""
    background: Background
    things: tuple[Thing, ...]
    """From left to right; no two overlap."""
