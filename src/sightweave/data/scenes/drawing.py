"""Draws the pixels, masks and boxes of scenes, with integers only, so that every machine gets the same bytes.

Each pictogram is rendered once as a large texture whose texels are averages over the area of one pixel, so that placing a
thing takes one look-up per pixel. Edges are smooth for things with sides of at least about 10 pixels.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from sightweave.core.errors import DataError, RecipeError, did_you_mean
from sightweave.data.scenes.emoji import CHARACTERS, emoji_bitmap
from sightweave.data.scenes.pictograms import COLORS, PICTOGRAMS, RIM_COLOR, SHAPES, striped
from sightweave.data.scenes.raster import (
    EIGHTHS,
    PAD,
    SAMPLES,
    SINE_BITS,
    TEXELS,
    UNITS,
    cosine,
    rasterise,
    sine,
    texture,
    texture_of_bitmap,
)
from sightweave.data.scenes.scene import SIDE, UNIT, Background, Scene, Thing

Box = tuple[float, float, float, float]
Window = tuple[slice, slice]

STYLES = ("drawn", "emoji")
FILLS = ("solid", "striped")
# 160 textures of 81 KiB are 13 MiB, enough for every name in two sizes.
CACHED_TEXTURES = 160
# Texel k is centred at 4 k - 29 eighths of a unit, so the texel nearest to a position is (position + 31) >> 2.
TEXEL_OFFSET = UNITS * EIGHTHS // 2 + 31


def draw(scene: Scene, pictures: str = "drawn") -> UInt8[np.ndarray, "96 96 3"]:
    """Draws the image of a scene, uint8 ``96 x 96 x 3``.

    Args:
        scene: The scene; later things are drawn over earlier ones.
        pictures: ``drawn`` (built-in pictograms) or ``emoji`` (the system's colour-emoji font, if it has the thing).

    Raises:
        DataError: A name, fill or background is unknown, or a number is out of range.
        RecipeError: `pictures` has another value.
        BackendError: The style is ``emoji``, and no colour-emoji font is installed.
    """
    canvas = _background(scene.background)
    for thing in scene.things:
        _place(thing, canvas, pictures)
    return _interleave(canvas)


def draw_with_masks(
    scene: Scene, pictures: str = "drawn"
) -> tuple[UInt8[np.ndarray, "96 96 3"], Bool[np.ndarray, "T 96 96"]]:
    """Draws the image of a scene, and a mask ``T x 96 x 96`` of the pixels that each thing covers by half or more.

    A pixel belongs to the last thing that covers it, so masks never overlap. Errors are as for `draw`.
    """
    canvas = _background(scene.background)
    masks = np.zeros((len(scene.things), SIDE, SIDE), bool)
    for index, thing in enumerate(scene.things):
        window, coverage = _place(thing, canvas, pictures)
        is_covered = coverage > 127
        masks[(slice(index), *window)] &= ~is_covered
        masks[(index, *window)] = is_covered
    return _interleave(canvas), masks


def _interleave(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Moves the channels last: ``3 x 96 x 96`` to ``96 x 96 x 3``."""
    pixels = np.empty((SIDE, SIDE, 3), np.uint8)
    for channel in range(3):
        pixels[..., channel] = canvas[channel]
    return pixels


def boxes(scene: Scene, pictures: str = "drawn") -> list[Box]:
    """Bounding box of each thing's mask: left, top, right and bottom as fractions of the image.

    Raises:
        DataError: A thing is outside the image or completely covered.
    """
    return mask_boxes(draw_with_masks(scene, pictures)[1])


def mask_boxes(masks: Bool[np.ndarray, "T Hp Wp"]) -> list[Box]:
    """Bounding box of each mask in ``T x Hp x Wp``: left, top, right and bottom as fractions of the image.

    Raises:
        DataError: A mask is empty.
    """
    height, width = masks.shape[1:]
    found = []
    for index, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not rows.size:
            raise DataError(
                f"thing {index} has no visible pixel: it is outside the image or completely covered."
            )

        left, right = int(columns[0]) / width, int(columns[-1] + 1) / width
        top, bottom = int(rows[0]) / height, int(rows[-1] + 1) / height
        found.append((left, top, right, bottom))
    return found


def _place(thing: Thing, canvas: NDArray[np.uint8], pictures: str) -> tuple[Window, NDArray[np.int32]]:
    """Draws a thing into `canvas`, ``3 x 96 x 96``; returns the window of pixels it may touch, and its coverage there."""
    window, texels = _look_up(thing, pictures)
    coverage = texels[3]

    # The colours of the thing, multiplied by its coverage.
    if thing.is_shape:
        color = _shape_colors(thing.rgb, texels)
    else:
        color = texels[:3]
        if any(thing.rgb):
            color += coverage * np.array(thing.rgb, np.int32)[:, None, None] // 255
            np.maximum(color, 0, out=color)
            np.minimum(color, coverage, out=color)

    # The background shows through where the coverage is partial; rounded.
    behind = canvas[(slice(None), *window)] * (255 - coverage)
    behind += 127
    behind //= 255
    behind += color
    canvas[(slice(None), *window)] = behind
    return window, coverage


def _shape_colors(rgb: tuple[int, int, int], texels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The colours of a shape, from a texture of the coverage by its colour and by the paler tint between its stripes."""
    color = np.array(rgb, np.int32)[:, None, None]
    tint = color + (255 - color) * 3 // 4
    mixed: NDArray[np.int32] = (texels[0] * color + texels[1] * tint) // 255
    return mixed


def _look_up(thing: Thing, pictures: str) -> tuple[Window, NDArray[np.int32]]:
    """The window of pixels that a thing may touch, and the texel of each of these pixels, ``4 x h x w``."""
    _check(thing, pictures)
    cos, sin = cosine(thing.angle), sine(thing.angle)

    # With its margins, a texture is 9/8 as wide as the thing. This is how far it reaches from its centre when rotated.
    reach = (thing.side * 9 * (abs(cos) + abs(sin)) >> SINE_BITS + 4) + UNIT
    rows, columns = _span(thing.y, reach), _span(thing.x, reach)

    # Compute the texture coordinates of each pixel's centre: rotate, scale, and clip to the texture.
    scale = UNITS * EIGHTHS
    across = (cos * scale + thing.side // 2) // thing.side
    along = (sin * scale + thing.side // 2) // thing.side
    x = np.arange(columns.start, columns.stop, dtype=np.int32) * UNIT + (UNIT // 2 - thing.x)
    y = np.arange(rows.start, rows.stop, dtype=np.int32) * UNIT + (UNIT // 2 - thing.y)
    offset = TEXEL_OFFSET << SINE_BITS
    u = (x * across + offset) + (y * along)[:, None]
    v = (y * across + offset)[:, None] - x * along
    u >>= SINE_BITS + 2
    v >>= SINE_BITS + 2
    for place in (u, v):
        np.maximum(place, 0, out=place)
        np.minimum(place, TEXELS - 1, out=place)

    v *= TEXELS
    v += u
    flat = _texture(thing.name, thing.fill if thing.is_shape else pictures, _averaged_samples(thing.side))
    texels = flat.take(v).view(np.uint8).reshape(*v.shape, 4)
    return (rows, columns), texels.transpose(2, 0, 1).astype(np.int32, order="C")


def _span(center: int, reach: int) -> slice:
    """The pixels of the image within `reach` of a centre along one axis; both are in sixteenths of a pixel."""
    start, stop = (center - reach) // UNIT, (center + reach) // UNIT + 1
    return slice(min(max(start, 0), SIDE), min(max(stop, 0), SIDE))


def _averaged_samples(side: int) -> int:
    """Width, in samples, of the area to average for one pixel of a thing; rounded, so that few textures are needed."""
    return 4 * min((4 * UNITS * UNIT // side) // 4, 8) + 1


def _check(thing: Thing, pictures: str) -> None:
    if pictures not in STYLES:
        raise RecipeError(f"unknown drawing style {pictures!r}. {did_you_mean(pictures, STYLES)}")

    known = SHAPES if thing.is_shape else PICTOGRAMS
    if thing.name not in known:
        what = "shape" if thing.is_shape else "pictogram"
        raise DataError(f"unknown {what} {thing.name!r}. {did_you_mean(thing.name, known)}")
    if thing.is_shape and thing.fill not in FILLS:
        raise DataError(f"unknown fill {thing.fill!r} of a {thing.name}. {did_you_mean(thing.fill, FILLS)}")

    if thing.side < UNIT:
        raise DataError(
            f"the side of {thing.name!r} is {thing.side} sixteenths of a pixel; it needs {UNIT} or more."
        )
    low = 0 if thing.is_shape else -255
    if not all(low <= channel <= 255 for channel in thing.rgb):
        raise DataError(f"rgb of {thing.name!r} is {thing.rgb}; each number must be {low} to 255.")


@lru_cache(maxsize=CACHED_TEXTURES)
def _texture(name: str, style: str, window: int) -> NDArray[np.uint32]:
    """The flattened texture of a name, with the four bytes of each texel as one number, which is faster to look up."""
    if style == "emoji" and name in CHARACTERS:
        return _flat(texture_of_bitmap(emoji_bitmap(name, SAMPLES - 2 * PAD), window))

    if style in FILLS:
        samples = rasterise(SHAPES[name], {"main": (0, 0, 0)}, "main")
        samples = striped(samples) if style == "striped" else samples
        colors = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], np.uint8)
    else:
        samples = rasterise(PICTOGRAMS[name], COLORS, RIM_COLOR)
        colors = np.array([(0, 0, 0), *COLORS.values()], np.uint8)
    return _flat(texture(samples, colors, window))


def _flat(texels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(texels).view(np.uint32).reshape(-1)


def _background(background: Background) -> NDArray[np.uint8]:
    """Draws a background, ``3 x 96 x 96``, by interpolating its grid of colours."""
    sides = {"plain": 1, "gradient": 2, "noise": 5}
    if background.kind not in sides:
        raise DataError(f"unknown background {background.kind!r}. {did_you_mean(background.kind, sides)}")
    side = sides[background.kind]
    if len(background.colors) != side * side:
        raise DataError(
            f"a {background.kind} background needs {side * side} colours (got {len(background.colors)})."
        )
    if not all(0 <= channel <= 255 for channel in chain.from_iterable(background.colors)):
        raise DataError(f"background colours must be 0 to 255 (got {background.colors}).")

    colors = np.array(background.colors, np.uint16).reshape(side, side, 3).transpose(2, 0, 1)
    if side == 1:
        return np.broadcast_to(colors, (3, SIDE, SIDE)).astype(np.uint8)

    weight = _weights(SIDE // (side - 1), side > 2)
    columns = _between(colors[:, :, :-1, None], colors[:, :, 1:, None], weight).reshape(3, side, SIDE)
    rows = _between(columns[:, :-1, None], columns[:, 1:, None], weight[:, None])
    return rows.reshape(3, SIDE, SIDE).astype(np.uint8)


def _between(
    start: NDArray[np.uint16], end: NDArray[np.uint16], weight: NDArray[np.uint16]
) -> NDArray[np.uint16]:
    """Interpolates from `start` to `end` with rounding; all intermediate values fit into 16 bits (255 * 256 + 128)."""
    mixed = start * (256 - weight)
    mixed += end * weight
    mixed += np.uint16(128)
    mixed >>= np.uint16(8)
    return mixed


@lru_cache(maxsize=4)
def _weights(steps: int, smooth: bool) -> NDArray[np.uint16]:
    """Interpolation weight of a cell's end at each pixel's centre, in 256ths: linear, or ``3 t^2 - 2 t^3`` if smooth."""
    t, whole = 2 * np.arange(steps, dtype=np.int64) + 1, 2 * steps
    weight = (3 * whole - 2 * t) * t * t * 256 // whole**3 if smooth else t * 256 // whole
    return weight.astype(np.uint16)
