"""Determines which phrases describe which things of a scene, as the basis for questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product

from sightweave.data.scenes.grammar import Described, adjective_forms, english_article
from sightweave.data.scenes.layout import HELD_OUT, MIN_GAP
from sightweave.data.scenes.lexicon import (
    COLORS,
    LANGUAGES,
    NOUNS,
    PLAIN,
    SENSES,
    SHAPES,
    SIZES,
    Noun,
)
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.scene import SIDE, UNIT, Scene, Thing

MIDDLE = SIDE * UNIT // 2
OFF_MIDDLE = 8 * UNIT
"""Minimum distance of a thing's centre from the middle of the image for questions about its side: 8 pixels."""
CLEAR_Y = 10 * UNIT
"""Minimum difference in y between two things of which a question says that one is above the other: 10 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """A noun phrase for a thing, such as ``big red shape``; `phrase` returns the same object for equal phrases."""

    size: str
    striped: bool
    color: str
    head: str
    level: str
    """Level of the head noun, from specific to general: ``noun``, ``category`` or ``thing``."""
    text: str
    plural: str
    a: str
    """The phrase with its indefinite article."""


PLURALS = {noun.english[0]: noun.english[1] for noun in NOUNS.values()} | {
    "shape": "shapes",
    "animal": "animals",
    "food item": "food items",
    "vehicle": "vehicles",
    "thing": "things",
}
_SHAPE_HEADS = {*SHAPES, "shape"}
_CATEGORY_HEADS = {"shape": "shape", "animal": "animal", "food": "food item", "vehicle": "vehicle"}
"""Head noun of a phrase for each category."""
_PICTOGRAM_NOUNS = (*PLAIN, *(NOUNS[first].english[0] for first, _ in SENSES.values()))


@cache
def phrase(size: str, striped: bool, color: str, head: str, level: str) -> Phrase:
    """Creates the phrase of these words; equal arguments return the same object."""
    words = [word for word in (size, "striped" if striped else "", color) if word]
    text = " ".join([*words, head])
    plural = " ".join([*words, PLURALS[head]])
    return Phrase(size, striped, color, head, level, text, plural, english_article(text))


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """The noun, phrases and words that describe a thing."""

    noun: Noun
    english: str
    full: Phrase
    """The noun with all attributes, as used in captions."""
    short: Phrase
    """The noun, with its colour if it is a shape, as used in reasoning steps and answers."""
    sized: Phrase
    """The short phrase with the size added."""
    phrases: tuple[Phrase, ...]
    """All phrases that describe the thing."""
    described: Described
    words: tuple[str, ...]
    """Words for the thing's region, in all languages."""


@cache
def facts(name: str, color: str, fill: str, size: str) -> Facts:
    """The noun, phrases and words for a thing with the given attributes."""
    noun = NOUNS[name]
    english, striped = noun.english[0], fill == "striped"
    return Facts(
        noun=noun,
        english=english,
        full=phrase(size, striped, color, english, "noun"),
        short=phrase("", False, color, english, "noun"),
        sized=phrase(size, False, color, english, "noun"),
        phrases=_phrases(noun, color, striped, size),
        described=Described(noun, size, striped, color),
        words=_words(noun, color, striped, size),
    )


def _phrases(noun: Noun, color: str, striped: bool, size: str) -> tuple[Phrase, ...]:
    """All phrases for a thing: every head noun with every subset of the attributes."""
    heads = [(noun.english[0], "noun"), ("thing", "thing")]
    if noun.category:
        heads.append((_CATEGORY_HEADS[noun.category], "category"))
    attributes = product(("", size), (False, True) if striped else (False,), ("", color) if color else ("",))

    found = []
    for (head, level), (some_size, is_striped, some_color) in product(heads, attributes):
        found.append(phrase(some_size, is_striped, some_color, head, level))
    return tuple(found)


def _words(noun: Noun, color: str, striped: bool, size: str) -> tuple[str, ...]:
    """Words for a thing's region: last word of the noun, all forms of the adjectives (in all languages), and category."""
    words = [noun.singular(language).split(" ")[-1] for language in LANGUAGES]
    for adjective in (size, color, "striped" if striped else ""):
        if adjective:
            words.extend(adjective_forms(adjective))
    if noun.category:
        words.append(noun.category)
    return tuple(dict.fromkeys(words))


class View:
    """A scene with all phrases that describe any of its things.

    ``masks[phrase]`` has bit ``i`` set if the phrase describes thing ``i``; phrases that describe no thing are missing.
    """

    __slots__ = ("allows_held_out", "facts", "masks", "rows", "scene", "short", "things", "unique")

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.things: tuple[Thing, ...] = scene.things
        self.facts = [facts(thing.name, thing.color, thing.fill, thing.size) for thing in scene.things]

        self.masks: dict[Phrase, int] = {}
        for number, fact in enumerate(self.facts):
            bit = 1 << number
            for said in fact.phrases:
                self.masks[said] = self.masks.get(said, 0) | bit

        shorts = [fact.short for fact in self.facts]
        names = [fact.sized if shorts.count(fact.short) > 1 else fact.short for fact in self.facts]
        self.short = [name.text for name in names]
        """Short names of the things from left to right, with the size if two things would have the same name."""
        self.unique = [number for number, name in enumerate(self.short) if self.short.count(name) == 1]
        """Indices of the things with a unique short name."""
        self.rows = sorted(range(len(self.things)), key=lambda number: self.things[number].y)
        """Indices of the things from top to bottom."""
        self.allows_held_out = scene.split == "combinations"
        """Whether questions may mention the held-out pairs of colour and shape."""

    def unique_phrases(self, number: int) -> list[Phrase]:
        """All phrases that describe only this thing."""
        bit, masks = 1 << number, self.masks
        return [said for said in self.facts[number].phrases if masks[said] == bit]

    def fitting(self, said: Phrase) -> list[int]:
        """Indices of the things that a phrase describes, from left to right."""
        mask = self.masks.get(said, 0)
        return [number for number in range(len(self.things)) if mask >> number & 1]

    def rows_are_clear(self) -> bool:
        """Whether all things differ in y by at least `MIN_GAP`, so that their order from top to bottom is clear."""
        heights = [self.things[number].y for number in self.rows]
        return all(low - high >= MIN_GAP for high, low in pairwise(heights))

    def absent(self, said: Phrase, random: Random) -> Phrase | None:
        """A phrase of the same form that describes nothing in the scene, preferably with words that occur there.

        Returns None if no such phrase is found.
        """
        colors = [thing.color for thing in self.things if thing.color]
        sizes = [thing.size for thing in self.things]
        present_heads, all_heads = self._heads_like(said)

        # The first attempts use what is in the scene, which makes the question harder.
        for attempt in range(9):
            is_hard = attempt < 5
            head = random.choice(present_heads if is_hard else all_heads)
            size = random.choice(sizes if is_hard else SIZES) if said.size else ""
            color = random.choice(colors if is_hard else COLORS) if said.color else ""
            if not self.allows_held_out and color and HELD_OUT.get(head) == color:
                continue
            made = phrase(size, said.striped, color, head, said.level)
            if made not in self.masks:
                return made
        return None

    def _heads_like(self, said: Phrase) -> tuple[Sequence[str], Sequence[str]]:
        """Head nouns that may replace a phrase's own: those that occur in the scene, and all of them."""
        if said.level == "noun":
            is_shape = bool(said.color) or said.striped or said.head in _SHAPE_HEADS
            present = [fact.english for fact in self.facts if fact.noun.is_shape == is_shape]
            return present, SHAPES if is_shape else _PICTOGRAM_NOUNS

        if said.level == "category" and not (said.color or said.striped):
            categories = [fact.noun.category for fact in self.facts if fact.noun.category]
            return [_CATEGORY_HEADS[name] for name in categories], tuple(_CATEGORY_HEADS.values())

        return [said.head], (said.head,)
