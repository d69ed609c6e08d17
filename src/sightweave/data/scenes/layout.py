"""Where things come from: `make_scene` puts one to four things on a background, from a seed and a number.

No two things overlap, their centres differ by 5.8 pixels or more in x, so that left to right is always defined, and half
of the scenes repeat colours, shapes and pictures, so that there is something to count.
"""

from __future__ import annotations

from sightweave.data.scenes.lexicon import COLORS, HOMONYMS, NOUNS, PLAIN, SENSES, SHAPES, SIZES
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.scene import SIDE, UNIT, Background, Scene, Thing

SPLITS = ("train", "scenes", "combinations")
"""What is trained on, and the tests."""
ALL_SPLITS = (*SPLITS, "validation")
"""A split's number here is part of its random streams: a new one comes last, and the others stay as they are."""
HELD_OUT = {
    "triangle": "red",
    "star": "green",
    "heart": "blue",
    "square": "yellow",
    "circle": "purple",
    "cross": "black",
}
"""Shape -> the colour that it has only in ``combinations``: one for each shape, and each colour once."""
RGB = {
    "red": (214, 44, 40),
    "green": (40, 158, 62),
    "blue": (38, 88, 214),
    "yellow": (242, 204, 36),
    "purple": (144, 60, 176),
    "black": (34, 34, 38),
}
MIN_GAP = 93
"""Least difference in x of two centres: 5.8 pixels in sixteenths."""
_EXTENT = SIDE * UNIT
_SIDES = {"small": 19 * UNIT, "big": 28 * UNIT}
_JITTER = 18
_Kind = tuple[str, str, str]  # name, colour, fill


def make_scene(seed: int, split: str, index: int) -> Scene:
    """The scene with this number; the same on every machine.

    Args:
        seed: Any number; another seed is another world.
        split: One of `ALL_SPLITS`.
        index: From 0.

    Raises:
        ValueError: no such split.
    """
    if split not in ALL_SPLITS:
        raise ValueError(f"scenes: no split {split!r}; available are {', '.join(ALL_SPLITS)}.")
    random = Random(seed, ALL_SPLITS.index(split), index, 0)
    kinds = _kinds(random, split)
    sizes = _sizes(random, len(kinds))
    sides = [_SIDES[size] + random.between(-UNIT, UNIT) for size in sizes]
    places = _places(random, sides)
    things = [
        _thing(random, kind, size, side, place)
        for kind, size, side, place in zip(kinds, sizes, sides, places, strict=True)
    ]
    things.sort(key=lambda thing: thing.x)
    return Scene(f"scenes/{seed}/{split}/{index}", split, _background(random), tuple(things))


def _sizes(random: Random, count: int) -> list[str]:
    """Either size for each thing; three or four are never all of one size, so that there is something to compare."""
    sizes = [random.choice(SIZES) for _ in range(count)]
    if count > 2 and len(set(sizes)) == 1:
        sizes[random.below(count)] = SIZES[1 - SIZES.index(sizes[0])]
    return sizes


def _kinds(random: Random, split: str) -> list[_Kind]:
    """What is in the scene, in no order."""
    count = random.weighted((1, 2, 3, 4), (1, 2, 3, 3))
    mode = random.weighted(("shapes", "pictures", "mixed"), (3, 3, 4))
    if mode == "mixed":
        shapes = random.between(1, count - 1) if count > 1 else random.below(2)
    else:
        shapes = count if mode == "shapes" else 0
    themed = random.below(2) == 0
    return [
        *_shape_kinds(random, shapes, themed, split),
        *((name, "", "") for name in _picture_names(random, count - shapes, themed)),
    ]


def _shape_kinds(random: Random, count: int, themed: bool, split: str) -> list[_Kind]:
    if not count:
        return []
    colors = random.shuffled(COLORS)[:2] if themed else COLORS
    shapes = random.shuffled(SHAPES)[:2] if themed else SHAPES
    # A themed scene repeats one shape and one colour as often as drawn here, so that counts are not mostly 0 and 1.
    same_shape, same_color = (random.between(1, count) if themed else 0 for _ in range(2))
    pairs: list[tuple[str, str]] = []
    for number in range(count):
        shape = shapes[0] if number < same_shape else random.choice(shapes)
        color = colors[0] if number < same_color else random.choice(colors)
        while split != "combinations" and HELD_OUT[shape] == color:
            shape, color = (random.choice(shapes), random.choice(colors))
        pairs.append((shape, color))
    if split == "combinations" and all(HELD_OUT[shape] != color for shape, color in pairs):
        number = random.below(count)
        shape = pairs[number][0]
        pairs[number] = (shape, HELD_OUT[shape])
    return [(shape, color, "striped" if random.below(2) else "solid") for shape, color in pairs]


def _picture_names(random: Random, count: int, themed: bool) -> list[str]:
    """Pictograms; nearly all scenes that have any have a homonym, and never both of its senses."""
    senses: dict[str, str] = {}

    def draw(percent: int) -> str:
        if not random.chance(percent):
            return random.choice(PLAIN)
        word = random.choice(HOMONYMS)
        return senses.setdefault(word, random.choice(SENSES[word]))

    names = [draw(95)] if count else []
    if not themed:
        return names + [draw(40) for _ in range(count - 1)]
    pair = [*names, draw(40)]
    if random.below(2):
        pair.reverse()
    same = random.between(1, count) if count else 0
    names = [pair[0] if number < same else random.choice(pair) for number in range(count)]
    return names


def _places(random: Random, sides: list[int]) -> list[tuple[int, int]]:
    """Centres without overlap, even where things are turned by 12 degrees: cos 12 + sin 12 = 1.186 < 19 / 16."""
    halves = [side * 19 // 32 + 1 for side in sides]
    for _ in range(40):
        places: list[tuple[int, int]] = []
        for half in halves:
            for _ in range(8):
                x, y = random.between(half, _EXTENT - half), random.between(half, _EXTENT - half)
                if all(
                    abs(x - there[0]) >= MIN_GAP
                    and max(abs(x - there[0]), abs(y - there[1])) >= half + halves[number]
                    for number, there in enumerate(places)
                ):
                    places.append((x, y))
                    break
            else:
                break
        if len(places) == len(halves):
            return places
    # Rare: a quarter of the picture for each, shifted so that no two centres share an x.
    quarters = random.shuffled([(368, 368), (1040, 368), (496, 1168), (1168, 1168)])
    return quarters[: len(halves)]


def _thing(random: Random, kind: _Kind, size: str, side: int, place: tuple[int, int]) -> Thing:
    name, color, fill = kind
    # More would turn black into a dark green or red.
    jitter = _JITTER // 3 if color == "black" else _JITTER
    shift = [random.between(-jitter, jitter) for _ in range(3)]
    base = RGB[color] if color else (0, 0, 0)
    low, high = (0, 255) if color else (-_JITTER, _JITTER)
    red, green, blue = (min(max(value + move, low), high) for value, move in zip(base, shift, strict=True))
    return Thing(
        name=name,
        is_shape=NOUNS[name].is_shape,
        color=color,
        rgb=(red, green, blue),
        fill=fill,
        size=size,
        x=place[0],
        y=place[1],
        side=side,
        angle=random.between(-12, 12),
    )


def _background(random: Random) -> Background:
    kind = random.choice(("plain", "gradient", "noise"))
    number = {"plain": 1, "gradient": 4, "noise": 25}[kind]
    channels = [205 + (octet * 51 >> 8) for octet in random.octets(3 * number)]
    return Background(kind, tuple(zip(channels[::3], channels[1::3], channels[2::3], strict=True)))
