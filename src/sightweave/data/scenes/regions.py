"""Makes the regions of a scene, which the first training stage uses: the box of each thing with all words for it."""

from __future__ import annotations

from functools import lru_cache

from sightweave.core.types import Region
from sightweave.data.scenes import drawing
from sightweave.data.scenes.scene import SIDE, UNIT, Background, Scene, Thing
from sightweave.data.scenes.view import MIDDLE, View

_NEAR_MIDDLE = 4 * UNIT
_EXTENT = SIDE * UNIT
_BLANK = Background("plain", ((255, 255, 255),))
_Box = tuple[float, float, float, float]


def regions(view: View, pictures: str = "drawn") -> tuple[Region, ...]:
    """One region per thing, whose words are the thing's nouns, adjectives, category, and side of the image.

    Args:
        view: The scene.
        pictures: Drawing style, ``drawn`` or ``emoji``, on which the size of the boxes depends.
    """
    found = []
    for thing, fact in zip(view.things, view.facts, strict=True):
        across, down = _side(thing.x, "left", "right"), _side(thing.y, "top", "bottom")
        found.append(Region(box=box(thing, pictures), words=_with_sides(fact.words, across, down)))
    return tuple(found)


def box(thing: Thing, pictures: str = "drawn") -> _Box:
    """A thing's box as fractions of the image, accurate to a pixel.

    Drawing the mask would take as long as drawing the image, so the box is measured once per drawing and angle, and scaled.
    """
    left, top, right, bottom = _offsets(
        thing.name, thing.is_shape, thing.fill, thing.size, thing.angle, pictures
    )

    x, y, side = thing.x / _EXTENT, thing.y / _EXTENT, thing.side / _EXTENT
    return (
        max(x + left * side, 0.0),
        max(y + top * side, 0.0),
        min(x + right * side, 1.0),
        min(y + bottom * side, 1.0),
    )


@lru_cache(maxsize=1 << 13)
def _offsets(name: str, is_shape: bool, fill: str, size: str, angle: int, pictures: str) -> _Box:
    """Left, top, right and bottom of a thing's box relative to its centre, as fractions of its side."""
    side = (19 if size == "small" else 28) * UNIT
    color = "red" if is_shape else ""
    thing = Thing(name, is_shape, color, (0, 0, 0), fill, size, MIDDLE, MIDDLE, side, angle)

    (found,) = drawing.boxes(Scene("", "", _BLANK, (thing,)), pictures)
    left, top, right, bottom = ((edge - 0.5) * SIDE * UNIT / side for edge in found)
    return left, top, right, bottom


def _side(center: int, low: str, high: str) -> str:
    """The word for the side of the middle that a centre is on; empty within 4 pixels of the middle."""
    if abs(center - MIDDLE) < _NEAR_MIDDLE:
        return ""
    return high if center > MIDDLE else low


@lru_cache(maxsize=1 << 14)
def _with_sides(words: tuple[str, ...], across: str, down: str) -> tuple[str, ...]:
    return words + tuple(word for word in (across, down) if word)
