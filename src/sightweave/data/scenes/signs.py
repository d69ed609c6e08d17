"""Generates scenes with signs: one or two signs and a few things, determined by a seed and an index.

The noun of about half of the signs is a homonym, and the thing that it means is in the image. Each sense is drawn equally
often for each word, and a sign is large enough for the texts of both senses in all languages. So only the thing shows what
the word means.

The split ``combinations`` has three kinds of scenes in turn: with phrases, with a face, and with pairs of a noun on a sign
and another thing next to it, none of which occur in the other splits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sightweave.data.scenes import layout
from sightweave.data.scenes.lettering import COLORS, DOTS, FACES, half_extents, panel_size
from sightweave.data.scenes.lexicon import HOMONYMS, NOUNS, PLAIN, SENSES, SHAPES, SIZES
from sightweave.data.scenes.phrases import (
    LANGUAGES,
    NOTICES,
    Phrase,
    is_held_out,
    is_unmet_pair,
    lines_and_columns,
    notice,
    patterns_of,
    phrase,
)
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.scene import SIDE, UNIT, Scene, Sign, SignScene, Thing

KINDS = ("phrases", "faces", "pairs")
"""What the scenes of the split ``combinations`` test, in turn by index."""
HELD_OUT_FACE = "slanted"
MAX_ANGLE = 8
_EXTENT = SIDE * UNIT
_GAP = 2 * UNIT
_MAX_HEIGHT = 42 * UNIT
_MIN_CONTRAST = 100
_STREAM = 3


@dataclass(frozen=True, slots=True)
class LetteredScene:
    """A scene with signs, and the phrases on them."""

    drawn: SignScene
    phrases: tuple[Phrase, ...]
    """The phrase of each sign; all signs of a scene are in the same language."""
    kind: str
    """What the scene tests in the split ``combinations``, one of `KINDS`; empty in other splits."""


def _luminance(color: str) -> int:
    red, green, blue = COLORS[color]
    return (299 * red + 587 * green + 114 * blue) // 1000


def _ink_and_ground() -> Iterator[tuple[str, str]]:
    for ink in COLORS:
        for ground in COLORS:
            if abs(_luminance(ink) - _luminance(ground)) >= _MIN_CONTRAST:
                yield ink, ground


INKS_AND_GROUNDS = tuple(_ink_and_ground())
"""Pairs of colours with enough contrast to be read."""


def scene_kind(split: str, index: int) -> str:
    """What a scene of the split ``combinations`` tests, one of `KINDS`; empty in other splits."""
    return KINDS[index % len(KINDS)] if split == "combinations" else ""


def make_sign_scene(seed: int, split: str, index: int, max_signs: int = 1) -> LetteredScene:
    """Generates the scene with a given index, which is the same on every machine.

    Args:
        seed: Random seed of the dataset, any integer.
        split: One of `layout.ALL_SPLITS`.
        index: Index in the split, counted from 0.
        max_signs: Maximum number of signs, 1 or 2.

    Raises:
        ValueError: The split is unknown, or `max_signs` is neither 1 nor 2.
    """
    if split not in layout.ALL_SPLITS:
        raise ValueError(f"scenes: no split {split!r}; available are {', '.join(layout.ALL_SPLITS)}.")
    if max_signs not in (1, 2):
        raise ValueError(f"scenes: max_signs must be 1 or 2 (got {max_signs}).")

    random = Random(seed, layout.ALL_SPLITS.index(split), index, _STREAM)
    kind = scene_kind(split, index)
    phrases = _phrases(random, kind, 2 if max_signs == 2 and random.chance(30) else 1)
    names = _things(random, phrases, kind)
    language = random.weighted(LANGUAGES, (3, 1, 1))
    signs, things = _placed(random, phrases, names, kind, language)

    order = sorted(range(len(signs)), key=lambda number: signs[number].y)
    scene = Scene(
        key=f"scenes/{seed}/{split}/{index}/signs{max_signs}",
        split=split,
        background=layout.random_background(random),
        things=tuple(sorted(things, key=lambda thing: thing.x)),
    )
    drawn = SignScene(scene, tuple(signs[number] for number in order))
    return LetteredScene(drawn, tuple(phrases[number] for number in order), kind)


def _phrases(random: Random, kind: str, count: int) -> list[Phrase]:
    """Draws the phrases of a scene's signs."""
    found = [_phrase(random, kind, 0)]
    while len(found) < count:
        made = _phrase(random, kind, len(found))
        if all(_go_together(made, one) for one in found):
            found.append(made)
    return found


def _go_together(one: Phrase, other: Phrase) -> bool:
    """Whether two phrases have different patterns and words, and neither is a held-out pair with the other's thing."""
    if one.pattern == other.pattern:
        return False
    if not (one.word and other.word):
        return True
    is_unmet = is_unmet_pair(one.word, other.noun) or is_unmet_pair(other.word, one.noun)
    return one.word != other.word and not is_unmet


def _phrase(random: Random, kind: str, number: int) -> Phrase:
    # The first sign has what the scene tests.
    tests_noun = kind in ("phrases", "pairs") and number == 0
    if not tests_noun and random.chance(10):
        return notice(random.below(len(NOTICES)))

    if random.chance(60):
        word = random.choice(HOMONYMS)
        noun = random.choice(SENSES[word])
    else:
        word = noun = random.choice(PLAIN)
    wants_held_out = kind == "phrases" and number == 0
    patterns = [name for name in patterns_of(word) if is_held_out(word, name) == wants_held_out]
    if not patterns:
        return _phrase(random, kind, number)
    return phrase(random.choice(patterns), noun)


def _things(random: Random, phrases: list[Phrase], kind: str) -> list[str]:
    """Draws the names of the things in a scene: those that homonyms on its signs mean, and up to two others."""
    words = [made.word for made in phrases if made.word]
    names = [made.noun for made in phrases if made.word in SENSES]
    for made in phrases:
        if made.word and made.word not in SENSES and random.chance(50):
            names.append(made.noun)

    num_others = random.weighted((0, 1, 2), (2, 3, 1)) if len(phrases) == 1 else random.below(2)
    num_others = max(num_others, kind == "pairs" or not names)
    for number in range(num_others):
        is_tested = kind == "pairs" and number == 0
        candidates = [name for name in (*PLAIN, *SHAPES) if name not in words]
        fitting = []
        for name in candidates:
            is_unmet = any(is_unmet_pair(word, name) for word in words)
            if is_unmet == is_tested:
                fitting.append(name)
        names.append(random.choice(fitting))
    return names


def _placed(
    random: Random, phrases: list[Phrase], names: list[str], kind: str, language: str
) -> tuple[list[Sign], list[Thing]]:
    """Draws signs and things such that nothing overlaps, with fewer and smaller things after many failed attempts."""
    for attempt in range(60):
        signs = _signs(random, phrases, kind, language, is_compact=attempt >= 20)
        if signs is None:
            continue
        sizes = ["small" if attempt >= 10 else random.choice(SIZES) for _ in names]
        things = _placed_things(random, signs, names, sizes)
        if things is not None:
            return signs, things

    # There is no room, so begin again with one sign and other things.
    return _placed(random, phrases[:1], _things(random, phrases[:1], kind), kind, language)


def _signs(
    random: Random, phrases: list[Phrase], kind: str, language: str, *, is_compact: bool
) -> list[Sign] | None:
    """Draws the signs of a scene; None if they overlap."""
    found: list[Sign] = []
    for number, made in enumerate(phrases):
        tested = kind if number == 0 else ""
        sign = _sign(random, made, tested, language, is_compact=is_compact or len(phrases) > 1)
        if any(_overlap(_sign_box(sign), _sign_box(other)) for other in found):
            return None
        found.append(sign)
    return found


def _sign(random: Random, made: Phrase, kind: str, language: str, *, is_compact: bool) -> Sign:
    """Draws one sign.

    Args:
        random: Stream of random numbers.
        made: The sign's phrase.
        kind: What the sign tests.
        language: Language of the text.
        is_compact: Whether to use the smallest letters and no rotation.
    """
    face = (
        HELD_OUT_FACE if kind == "faces" else random.choice([name for name in FACES if name != HELD_OUT_FACE])
    )
    lines, columns = lines_and_columns(made)

    # Choose among the sizes and angles with which the panel is small enough.
    angle = 0 if is_compact or random.below(2) else random.between(-MAX_ANGLE, MAX_ANGLE)
    fitting = [dot for dot in DOTS if _fits(panel_size(lines, columns, face, dot), angle)]
    if not fitting:
        angle = 0
        fitting = [dot for dot in DOTS if _fits(panel_size(lines, columns, face, dot), angle)]
    if not fitting:
        face, fitting = (face if kind == "faces" else "regular"), [DOTS[0]]
    dot = fitting[0] if is_compact else random.choice(fitting)
    width, height = panel_size(lines, columns, face, dot)

    # The edges of the panel are whole pixels before it is turned.
    half_width, half_height = half_extents(width, height, angle)
    x = random.between(half_width, _EXTENT - half_width)
    y = random.between(half_height, _EXTENT - half_height)
    ink, ground = random.choice(INKS_AND_GROUNDS)
    return Sign(
        text=made.text(language),
        language=language,
        face=face,
        dot=dot,
        ink=ink,
        ground=ground,
        x=_on_grid(x, width, half_width),
        y=_on_grid(y, height, half_height),
        width=width,
        height=height,
        angle=angle,
    )


def _fits(size: tuple[int, int], angle: int) -> bool:
    half_width, half_height = half_extents(*size, angle)
    return 2 * half_width <= _EXTENT and 2 * half_height <= _MAX_HEIGHT


def _on_grid(center: int, length: int, half: int) -> int:
    """The nearest centre at or before a given one for which the panel's edges are whole pixels, within the image."""
    start = (center - length // 2) // UNIT * UNIT
    if start + length // 2 < half:
        start += UNIT
    return start + length // 2


_Box = tuple[int, int, int, int]


def _sign_box(sign: Sign) -> _Box:
    half_width, half_height = half_extents(sign.width, sign.height, sign.angle)
    return sign.x - half_width, sign.y - half_height, sign.x + half_width, sign.y + half_height


def _overlap(one: _Box, other: _Box) -> bool:
    """Whether two rectangles are closer than two pixels."""
    is_apart_across = one[2] + _GAP <= other[0] or other[2] + _GAP <= one[0]
    is_apart_down = one[3] + _GAP <= other[1] or other[3] + _GAP <= one[1]
    return not (is_apart_across or is_apart_down)


def _placed_things(
    random: Random, signs: list[Sign], names: list[str], sizes: list[str]
) -> list[Thing] | None:
    """Places things such that they overlap neither each other nor a sign; None if there is no room."""
    taken = [_sign_box(sign) for sign in signs]
    centers: list[int] = []
    things = []
    for name, size in zip(names, sizes, strict=True):
        side = layout.SIDES[size] + random.between(-UNIT, UNIT)
        half = side * 19 // 32 + 1
        for _ in range(12):
            x, y = random.between(half, _EXTENT - half), random.between(half, _EXTENT - half)
            box = (x - half, y - half, x + half, y + half)
            is_clear = all(abs(x - center) >= layout.MIN_GAP for center in centers)
            if is_clear and not any(_overlap(box, other) for other in taken):
                break
        else:
            return None

        taken.append(box)
        centers.append(x)
        things.append(layout.random_thing(random, _thing_kind(random, name), size, side, (x, y)))
    return things


def _thing_kind(random: Random, name: str) -> tuple[str, str, str]:
    """Name, colour and fill of a thing; shapes never have their held-out colour."""
    if not NOUNS[name].is_shape:
        return name, "", ""
    colors = [color for color in layout.RGB if color != layout.HELD_OUT[name]]
    return name, random.choice(colors), "striped" if random.below(2) else "solid"
