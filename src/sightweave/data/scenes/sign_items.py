"""What scenes with signs are used for: the plain text of their signs, the translated images, and words for their regions."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from sightweave.core.errors import RecipeError, did_you_mean
from sightweave.core.text_regions import TextRegion, format_regions
from sightweave.core.types import Region
from sightweave.data.scenes import drawing
from sightweave.data.scenes.lettering import draw_signs, letters, region_of, text_corner, with_text
from sightweave.data.scenes.lexicon import NOUNS, SENSES, other_sense
from sightweave.data.scenes.phrases import LANGUAGES, phrase
from sightweave.data.scenes.raster import SINE_BITS, cosine, sine
from sightweave.data.scenes.scene import SIDE, UNIT, Scene, Sign
from sightweave.data.scenes.signs import LetteredScene

TASKS = ("reading", "image_translation")
"""Tasks whose records are about signs."""
THINGS = ("shown", "hidden", "swapped")
"""What is drawn for the things of a scene: themselves, nothing, or the other sense of each homonym."""
_SIZE = (SIDE, SIDE)
_LETTER = re.compile(r"\S")
_WORD = re.compile(r"\S{2,}")


def draw_lettered(
    made: LetteredScene, language: str = "", *, things: str = "shown", pictures: str = "drawn"
) -> UInt8[np.ndarray, "96 96 3"]:
    """Draws a scene with its signs, uint8 ``96 x 96 x 3``.

    Args:
        made: The scene.
        language: Language into which the signs are translated; empty leaves them as they are.
        things: One of `THINGS`.
        pictures: Drawing style of the things, ``drawn`` or ``emoji``.

    Raises:
        RecipeError: `things` or `pictures` is unknown.
    """
    scene = _with_things(made.drawn.scene, things)
    signs = made.drawn.signs
    if language:
        signs = tuple(
            with_text(sign, one.text(language), language)
            for sign, one in zip(signs, made.phrases, strict=True)
        )
    return draw_signs(drawing.draw(scene, pictures), signs)


def _with_things(scene: Scene, things: str) -> Scene:
    if things not in THINGS:
        raise RecipeError(f"scenes: things is {things!r}. {did_you_mean(things, THINGS)}")
    if things == "shown":
        return scene
    if things == "hidden":
        return replace(scene, things=())

    changed = []
    for thing in scene.things:
        is_ambiguous = NOUNS[thing.name].word in SENSES
        changed.append(replace(thing, name=other_sense(thing.name).name) if is_ambiguous else thing)
    return replace(scene, things=tuple(changed))


def sign_texts(made: LetteredScene, language: str = "") -> tuple[str, ...]:
    """Each sign in the plain-text form of regions, from top to bottom. The texts have spaces instead of line breaks.

    Args:
        made: The scene.
        language: Language of the translation, which follows the words on the sign; empty for none.
    """
    found = []
    for sign, one in zip(made.drawn.signs, made.phrases, strict=True):
        region: TextRegion = region_of(sign, _SIZE)
        words = sign.text.replace("\n", " ")
        region = replace(region, text=words)
        if language:
            region = replace(region, text=one.text(language).replace("\n", " "), source=words)
        found.append(format_regions([region]))
    return tuple(found)


def targets(made: LetteredScene) -> tuple[str, ...]:
    """Languages into which the signs can be translated."""
    return tuple(language for language in LANGUAGES if language != made.drawn.signs[0].language)


def is_ambiguous(made: LetteredScene, language: str) -> bool:
    """Whether the translation of a sign depends on what is next to it."""
    for sign, one in zip(made.drawn.signs, made.phrases, strict=True):
        if one.word not in SENSES:
            continue
        other = phrase(one.pattern, other_sense(one.noun).name)
        if other.text(sign.language) == sign.text and other.text(language) != one.text(language):
            return True
    return False


def text_regions(sign: Sign) -> list[Region]:
    """The box of each letter and of each word on a sign, with the letter or word; they teach an encoder to read."""
    dots = letters(sign.text, sign.face)
    left, top = text_corner(sign, dots.shape)
    lines = sign.text.split("\n")
    columns = max(map(len, lines))
    cell = dots.shape[1] // columns
    line_height = dots.shape[0] // len(lines) * sign.dot

    found = []
    for number, line in enumerate(lines):
        indent = (columns - len(line)) * cell // 2
        for match in (*_LETTER.finditer(line), *_WORD.finditer(line)):
            across = left + (indent + match.start() * cell) * sign.dot
            box = (across, top + number * line_height, len(match[0]) * cell * sign.dot, line_height)
            found.append(Region(box=_upright(sign, box), words=(match[0],)))
    return found


def _upright(sign: Sign, box: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    """The upright box with the same centre and size as a part of a turned panel, as fractions of the image.

    Args:
        sign: The sign.
        box: Left, top, width and height from the panel's corner, in sixteenths of a pixel.
    """
    left, top, width, height = box
    across, down = left + width // 2 - sign.width // 2, top + height // 2 - sign.height // 2
    cos, sin = cosine(sign.angle), sine(sign.angle)
    x = sign.x + (across * cos - down * sin >> SINE_BITS)
    y = sign.y + (across * sin + down * cos >> SINE_BITS)
    edges = (x - width // 2, y - height // 2, x + width // 2, y + height // 2)
    first, second, third, fourth = (min(max(edge / (SIDE * UNIT), 0.0), 1.0) for edge in edges)
    return first, second, third, fourth
