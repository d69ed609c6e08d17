"""Generates texts that contain every word form of the scenes, for training a tokenizer that knows all words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from sightweave.data.scenes.grammar import (
    NUMBER_TEMPLATES,
    TEMPLATES,
    Described,
    noun_phrase,
    number_sentences,
    sentence,
)
from sightweave.data.scenes.items import TASKS, caption, each
from sightweave.data.scenes.layout import make_scene
from sightweave.data.scenes.lexicon import COLORS, LANGUAGES, NOUNS, SIZES, Noun
from sightweave.data.scenes.questions import Question
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.view import PLURALS, View


def texts(seed: int, sampled: int = 2_000) -> Iterator[str]:
    """Yields texts with all word forms, then the texts of `sampled` scenes, so that frequent words occur often."""
    yield from table()

    for index in range(sampled):
        view = View(make_scene(seed, "train", index))
        yield caption(view)
        for item in each(view, Random(seed, 0, index, 2), TASKS):
            if isinstance(item, Question):
                yield item.text
                yield f"{item.steps} Answer: {item.answer}" if item.steps else item.answer
            else:
                yield item.source
                yield item.target


def table() -> Iterator[str]:
    """Yields texts with all word forms, each in every kind of sentence in which it can occur."""
    for noun in NOUNS.values():
        yield from _noun_texts(noun)
    for singular, plural in PLURALS.items():
        yield f"How many {plural} are there? Is there a {singular}? What is the {singular}?"

    yield "What shape is this? What animal is this? What food is this? What vehicle is this?"
    yield "yes no none big small left right top bottom 0 1 2 3 4"
    yield "leftmost rightmost topmost bottommost left to right: top to bottom:"


def _noun_texts(noun: Noun) -> Iterator[str]:
    """Yields texts with all forms of a noun, combined with all forms of its adjectives."""
    colors = COLORS if noun.is_shape else ("",)
    for color, size in product(colors, SIZES):
        thing = Described(noun, size, noun.is_shape, color)
        for language in LANGUAGES:
            yield from _thing_texts(thing, language)
        for name, number in product(NUMBER_TEMPLATES, (1, 2)):
            yield from number_sentences(name, Described(noun, color=color), number)


def _thing_texts(thing: Described, language: str) -> Iterator[str]:
    """Yields all phrases and sentences about a thing in one language."""
    for article in ("a", "the", "two"):
        yield noun_phrase(language, thing, article)
    yield noun_phrase(language, thing, "a", "accusative")

    for name, template in TEMPLATES.items():
        for side in ("left", "right") if name == "side" else ("",):
            yield sentence(name, language, (thing,) * len(template.slots), side)
