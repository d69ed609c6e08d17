"""Generates scenes: `make_scene` places one to four things on a background, determined by a seed and an index.

Things do not overlap, and their centres differ by at least 5.8 pixels in x, so that the order from left to right is always
clear. Half of the scenes repeat colours, shapes and pictograms, so that there is something to count.
"""

from __future__ import annotations

from sightweave.data.scenes.lexicon import COLORS, HOMONYMS, NOUNS, PLAIN, SENSES, SHAPES, SIZES
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.scene import SIDE, UNIT, Background, Scene, Thing

SPLITS = ("train", "scenes", "combinations")
"""The training split, followed by the test splits."""
ALL_SPLITS = (*SPLITS, "validation")
"""All splits. The index of a split determines its random streams, so a new split must be added at the end."""
HELD_OUT = {
    "triangle": "red",
    "star": "green",
    "heart": "blue",
    "square": "yellow",
    "circle": "purple",
    "cross": "black",
}
"""For each shape, the colour that it has only in the split ``combinations``; each colour occurs once."""
RGB = {
    "red": (214, 44, 40),
    "green": (40, 158, 62),
    "blue": (38, 88, 214),
    "yellow": (242, 204, 36),
    "purple": (144, 60, 176),
    "black": (34, 34, 38),
}
MIN_GAP = 93
"""Minimum difference in x between the centres of two things, in sixteenths of a pixel (5.8 pixels)."""
_EXTENT = SIDE * UNIT
SIDES = {"small": 19 * UNIT, "big": 28 * UNIT}
"""Side of a thing by its size, in sixteenths of a pixel, before a random change by up to one pixel."""
_JITTER = 18
_Kind = tuple[str, str, str]  # name, colour, fill


def make_scene(seed: int, split: str, index: int) -> Scene:
    """Generates the scene with a given index, which is the same on every machine.

    Args:
        seed: Random seed of the dataset, any integer.
        split: One of `ALL_SPLITS`.
        index: Index in the split, counted from 0.

    Raises:
        ValueError: The split is unknown.
    """
    if split not in ALL_SPLITS:
        raise ValueError(f"scenes: no split {split!r}; available are {', '.join(ALL_SPLITS)}.")

    random = Random(seed, ALL_SPLITS.index(split), index, 0)
    kinds = _kinds(random, split)
    sizes = _sizes(random, len(kinds))
    sides = [SIDES[size] + random.between(-UNIT, UNIT) for size in sizes]
    places = _places(random, sides)

    things = []
    for kind, size, side, place in zip(kinds, sizes, sides, places, strict=True):
        things.append(random_thing(random, kind, size, side, place))
    things.sort(key=lambda thing: thing.x)
    return Scene(f"scenes/{seed}/{split}/{index}", split, random_background(random), tuple(things))


def _sizes(random: Random, count: int) -> list[str]:
    """Draws a size for each thing; three or more things never all have the same size, so that they can be compared."""
    sizes = [random.choice(SIZES) for _ in range(count)]
    if count > 2 and len(set(sizes)) == 1:
        sizes[random.below(count)] = SIZES[1 - SIZES.index(sizes[0])]
    return sizes


def _kinds(random: Random, split: str) -> list[_Kind]:
    """Draws name, colour and fill of each thing in a scene, in arbitrary order."""
    count = random.weighted((1, 2, 3, 4), (1, 2, 3, 3))
    mode = random.weighted(("shapes", "pictures", "mixed"), (3, 3, 4))
    if mode == "mixed":
        num_shapes = random.between(1, count - 1) if count > 1 else random.below(2)
    else:
        num_shapes = count if mode == "shapes" else 0

    themed = random.below(2) == 0
    shapes = _shape_kinds(random, num_shapes, themed, split)
    pictograms = [(name, "", "") for name in _pictogram_names(random, count - num_shapes, themed)]
    return shapes + pictograms


def _shape_kinds(random: Random, count: int, themed: bool, split: str) -> list[_Kind]:
    if not count:
        return []

    # A themed scene uses only two colours and two shapes, and repeats one of each, so that counts above 1 are frequent.
    colors = random.shuffled(COLORS)[:2] if themed else COLORS
    shapes = random.shuffled(SHAPES)[:2] if themed else SHAPES
    same_shape = random.between(1, count) if themed else 0
    same_color = random.between(1, count) if themed else 0

    pairs: list[tuple[str, str]] = []
    for number in range(count):
        shape = shapes[0] if number < same_shape else random.choice(shapes)
        color = colors[0] if number < same_color else random.choice(colors)
        while split != "combinations" and HELD_OUT[shape] == color:
            shape, color = (random.choice(shapes), random.choice(colors))
        pairs.append((shape, color))

    # In this split, every scene that has shapes contains a held-out pair.
    if split == "combinations" and all(HELD_OUT[shape] != color for shape, color in pairs):
        number = random.below(count)
        shape = pairs[number][0]
        pairs[number] = (shape, HELD_OUT[shape])

    return [(shape, color, "striped" if random.below(2) else "solid") for shape, color in pairs]


def _pictogram_names(random: Random, count: int, themed: bool) -> list[str]:
    """Draws the pictograms of a scene; nearly always one is a homonym, but a scene never shows both senses of it."""
    senses: dict[str, str] = {}

    def draw(percent: int) -> str:
        if not random.chance(percent):
            return random.choice(PLAIN)
        word = random.choice(HOMONYMS)
        return senses.setdefault(word, random.choice(SENSES[word]))

    names = [draw(95)] if count else []
    if not themed:
        return names + [draw(40) for _ in range(count - 1)]

    # A themed scene uses only two pictograms and repeats one of them.
    pair = [*names, draw(40)]
    if random.below(2):
        pair.reverse()
    same = random.between(1, count) if count else 0
    return [pair[0] if number < same else random.choice(pair) for number in range(count)]


def _places(random: Random, sides: list[int]) -> list[tuple[int, int]]:
    """Draws the centres of things such that they do not overlap.

    Distances allow for rotations by up to 12 degrees, for which cos 12 + sin 12 = 1.186 < 19 / 16.
    """
    halves = [side * 19 // 32 + 1 for side in sides]
    for _ in range(40):
        places: list[tuple[int, int]] = []
        for half in halves:
            place = _free_place(random, half, places, halves)
            if place is None:
                break
            places.append(place)
        if len(places) == len(halves):
            return places

    # If no free place was found, which is rare, put each thing into its own quarter of the image, with centres that
    # differ in x.
    quarters = random.shuffled([(368, 368), (1040, 368), (496, 1168), (1168, 1168)])
    return quarters[: len(halves)]


def _free_place(
    random: Random, half: int, taken: list[tuple[int, int]], halves: list[int]
) -> tuple[int, int] | None:
    """Draws a centre that is far enough from all centres in `taken`; None after eight failed attempts."""
    for _ in range(8):
        x, y = random.between(half, _EXTENT - half), random.between(half, _EXTENT - half)
        for (other_x, other_y), other_half in zip(taken, halves, strict=False):
            across, down = abs(x - other_x), abs(y - other_y)
            if across < MIN_GAP or max(across, down) < half + other_half:
                break
        else:
            return x, y
    return None


def random_thing(
    random: Random, kind: tuple[str, str, str], size: str, side: int, place: tuple[int, int]
) -> Thing:
    """Draws the colour jitter and the angle of a thing.

    Args:
        random: Stream of random numbers.
        kind: Name, colour and fill.
        size: Size word.
        side: Side in sixteenths of a pixel.
        place: Centre in sixteenths of a pixel.
    """
    name, color, fill = kind

    # Black gets less jitter, because more could turn it into a dark green or red.
    jitter = _JITTER // 3 if color == "black" else _JITTER
    shifts = [random.between(-jitter, jitter) for _ in range(3)]
    base = RGB[color] if color else (0, 0, 0)
    low, high = (0, 255) if color else (-_JITTER, _JITTER)
    red, green, blue = (min(max(value + shift, low), high) for value, shift in zip(base, shifts, strict=True))

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


def random_background(random: Random) -> Background:
    """Draws a background in pale colours."""
    kind = random.choice(("plain", "gradient", "noise"))
    num_colors = {"plain": 1, "gradient": 4, "noise": 25}[kind]
    channels = [205 + (octet * 51 >> 8) for octet in random.octets(3 * num_colors)]
    return Background(kind, tuple(zip(channels[::3], channels[1::3], channels[2::3], strict=True)))
