"""Each thing's box with every word for it: what the first stage of training learns from."""

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
    """One region for each thing; its words are its nouns, adjectives and category, and its sides of the picture.

    Args:
        view: The scene.
        pictures: ``drawn`` or ``emoji``, since the glyphs differ in their extents.
    """
    return tuple(
        Region(
            box=box(thing, pictures),
            words=_placed(fact.words, _side(thing.x, "left", "right"), _side(thing.y, "top", "bottom")),
        )
        for thing, fact in zip(view.things, view.facts, strict=True)
    )


def box(thing: Thing, pictures: str = "drawn") -> _Box:
    """A thing's box, within a pixel of its exact mask's.

    Drawing it would take as long as the picture; so each name, turned by each angle, is drawn once and then scaled.
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
    """The sides of a thing's box from its centre, as parts of its side."""
    side = (19 if size == "small" else 28) * UNIT
    thing = Thing(
        name, is_shape, "red" if is_shape else "", (0, 0, 0), fill, size, MIDDLE, MIDDLE, side, angle
    )
    (found,) = drawing.boxes(Scene("", "", _BLANK, (thing,)), pictures)
    left, top, right, bottom = ((edge - 0.5) * SIDE * UNIT / side for edge in found)
    return left, top, right, bottom


def _side(at: int, low: str, high: str) -> str:
    """Nothing is said of a centre within 4 pixels of the middle."""
    return "" if abs(at - MIDDLE) < _NEAR_MIDDLE else high if at > MIDDLE else low


@lru_cache(maxsize=1 << 14)
def _placed(words: tuple[str, ...], across: str, down: str) -> tuple[str, ...]:
    return words + tuple(word for word in (across, down) if word)
