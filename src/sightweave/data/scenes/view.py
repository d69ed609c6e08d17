"""A scene as the questions see it: which phrases fit which of its things."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

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
"""How far from the middle a centre must be before we ask on which side it is: 8 pixels."""
CLEAR_Y = 10 * UNIT
"""Least difference in y of two things that a question calls above and below: 10 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """What may be said of a thing, such as ``big red shape``; made once, so that it is its own key."""

    size: str
    striped: bool
    color: str
    head: str
    level: str
    """``noun``, ``category`` or ``thing``: how much the head says."""
    text: str
    plural: str
    a: str
    """With its indefinite article."""


PLURALS = {noun.english[0]: noun.english[1] for noun in NOUNS.values()} | {
    "shape": "shapes",
    "animal": "animals",
    "food item": "food items",
    "vehicle": "vehicles",
    "thing": "things",
}
_SHAPE_HEADS = {*SHAPES, "shape"}
_HEADS = {
    "shape": "shape",
    "animal": "animal",
    "food": "food item",
    "vehicle": "vehicle",
}  # category -> what is said
_PICTURE_NOUNS = (*PLAIN, *(NOUNS[first].english[0] for first, _ in SENSES.values()))


@cache
def phrase(size: str, striped: bool, color: str, head: str, level: str) -> Phrase:
    """The one phrase of these words."""
    words = [word for word in (size, "striped" if striped else "", color) if word]
    text = " ".join([*words, head])
    return Phrase(
        size, striped, color, head, level, text, " ".join([*words, PLURALS[head]]), english_article(text)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What is always true of a thing with these attributes."""

    noun: Noun
    english: str
    full: Phrase
    """With all that can be said of it, as captions do."""
    short: Phrase
    """The noun, with the colour for a shape: what steps and answers call it."""
    sized: Phrase
    """The same with the size."""
    phrases: tuple[Phrase, ...]
    described: Described
    words: tuple[str, ...]
    """What a region of it may be called, in all languages."""


@cache
def facts(name: str, color: str, fill: str, size: str) -> Facts:
    """The facts about such a thing."""
    noun = NOUNS[name]
    english, striped = noun.english[0], fill == "striped"
    heads = [(english, "noun"), ("thing", "thing")]
    if noun.category:
        heads.append((_HEADS[noun.category], "category"))
    said = [
        phrase(one_size, stripes, one_color, head, level)
        for head, level in heads
        for one_size in ("", size)
        for stripes in ((False, True) if striped else (False,))
        for one_color in (("", color) if color else ("",))
    ]
    words = [noun.singular(language).split(" ")[-1] for language in LANGUAGES]
    adjectives = [size, *([color] if color else []), *(["striped"] if striped else [])]
    for adjective in adjectives:
        words.extend(adjective_forms(adjective))
    if noun.category:
        words.append(noun.category)
    return Facts(
        noun=noun,
        english=english,
        full=phrase(size, striped, color, english, "noun"),
        short=phrase("", False, color, english, "noun"),
        sized=phrase(size, False, color, english, "noun"),
        phrases=tuple(said),
        described=Described(noun, size, striped, color),
        words=tuple(dict.fromkeys(words)),
    )


class View:
    """A scene with every phrase that fits any of its things.

    ``masks[phrase]`` has bit ``i`` set where the phrase fits thing ``i``; a phrase that fits nothing is not there.
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
        self.short = [
            (fact.sized if shorts.count(fact.short) > 1 else fact.short).text for fact in self.facts
        ]
        """Short names, left to right; with the size where the name alone stands for two things."""
        self.unique = [number for number, name in enumerate(self.short) if self.short.count(name) == 1]
        """The things whose short name is theirs alone."""
        self.rows = sorted(range(len(self.things)), key=lambda number: self.things[number].y)
        """The things from top to bottom."""
        self.allows_held_out = scene.split == "combinations"
        """Whether the held-out pairs of colour and shape may be asked about."""

    def unique_phrases(self, number: int) -> list[Phrase]:
        """The phrases that fit this thing alone."""
        bit, masks = 1 << number, self.masks
        return [said for said in self.facts[number].phrases if masks[said] == bit]

    def fitting(self, said: Phrase) -> list[int]:
        """The things that a phrase fits, left to right."""
        mask = self.masks.get(said, 0)
        return [number for number in range(len(self.things)) if mask >> number & 1]

    def rows_are_clear(self) -> bool:
        """Whether no two neighbours from top to bottom are closer than things from left to right ever are."""
        heights = [self.things[number].y for number in self.rows]
        return all(low - high >= MIN_GAP for high, low in pairwise(heights))

    def absent(self, said: Phrase, random: Random) -> Phrase | None:
        """A phrase of the same form that fits nothing here: of attributes that are here, where that is possible."""
        colors = [thing.color for thing in self.things if thing.color]
        sizes = [thing.size for thing in self.things]
        is_shape = bool(said.color) or said.striped or said.head in _SHAPE_HEADS
        if said.level == "noun":
            here: list[str] = [f.english for f in self.facts if f.noun.is_shape == is_shape]
            everywhere: tuple[str, ...] = SHAPES if is_shape else _PICTURE_NOUNS
        elif said.level == "category" and not (said.color or said.striped):
            here = [_HEADS[fact.noun.category] for fact in self.facts if fact.noun.category]
            everywhere = tuple(_HEADS.values())
        else:
            here, everywhere = [said.head], (said.head,)
        for turn in range(9):
            hard = turn < 5
            head = random.choice(here if hard else everywhere)
            size = random.choice(sizes if hard else SIZES) if said.size else ""
            color = random.choice(colors if hard else COLORS) if said.color else ""
            if not self.allows_held_out and color and HELD_OUT.get(head) == color:
                continue
            made = phrase(size, said.striped, color, head, said.level)
            if made not in self.masks:
                return made
        return None
