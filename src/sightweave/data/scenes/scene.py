"""Data classes that describe a scene. All numbers are integers, so that every machine draws the same pixels."""

from __future__ import annotations

from dataclasses import dataclass

SIDE = 96
"""Side of the square image in pixels."""
UNIT = 16
"""Units per pixel: positions and sizes are in sixteenths of a pixel."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing in a scene: a shape or a pictogram."""

    name: str
    """Name of the shape (``circle``) or pictogram (``dog``, or for a homonym its sense, such as ``bat_animal``)."""
    is_shape: bool
    color: str
    """Colour word of a shape; empty for a pictogram, which has several colours."""
    rgb: tuple[int, int, int]
    """Colour of a shape with jitter, 0 to 255; for a pictogram, a small shift of each channel, -18 to 18."""
    fill: str
    """Fill of a shape, ``solid`` or ``striped``; empty for a pictogram."""
    size: str
    """Size word, ``small`` or ``big``."""
    x: int
    """Distance of the centre from the left edge, in sixteenths of a pixel."""
    y: int
    """Distance of the centre from the top edge, in sixteenths of a pixel."""
    side: int
    """Side of the thing's square, in sixteenths of a pixel."""
    angle: int
    """Clockwise rotation in degrees, -12 to 12."""


@dataclass(frozen=True, slots=True)
class Background:
    """The background of a scene, in pale colours."""

    kind: str
    """Kind of background: ``plain``, ``gradient`` or ``noise`` (smooth)."""
    colors: tuple[tuple[int, int, int], ...]
    """RGB colours: one for ``plain``, four (the corners) for ``gradient``, and 25 (a 5 x 5 grid by rows) for ``noise``."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The complete description of an image; equal scenes are drawn with equal pixels."""

    key: str
    """Unique key, ``scenes/<seed>/<split>/<index>``."""
    split: str
    """Split: ``train``, ``scenes`` (held-out scenes), ``combinations`` (held-out combinations) or ``validation``."""
    background: Background
    things: tuple[Thing, ...]
    """The things from left to right, which do not overlap."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign in a scene: a panel with one or two lines of text."""

    text: str
    """The text, with a line feed between two lines."""
    language: str
    """Code of the text's language: ``en``, ``de`` or ``fr``."""
    face: str
    """Face of the letters: ``regular``, ``bold`` or ``slanted``."""
    dot: int
    """Side of a dot of the letters, in sixteenths of a pixel; 16 is one pixel."""
    ink: str
    """Colour of the letters and the frame, a name in `lettering.COLORS`."""
    ground: str
    """Colour of the panel, a name in `lettering.COLORS`."""
    x: int
    """Distance of the centre from the left edge, in sixteenths of a pixel."""
    y: int
    """Distance of the centre from the top edge, in sixteenths of a pixel."""
    width: int
    """Width of the panel without its frame, in sixteenths of a pixel."""
    height: int
    """Height of the panel without its frame, in sixteenths of a pixel."""
    angle: int
    """Clockwise rotation in degrees, -8 to 8."""


@dataclass(frozen=True, slots=True)
class SignScene:
    """A scene with signs, which are drawn over the things."""

    scene: Scene
    signs: tuple[Sign, ...]
    """The signs from top to bottom, which overlap neither one another nor a thing."""
