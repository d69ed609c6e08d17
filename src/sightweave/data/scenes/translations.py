"""Sentences to translate, with a picture that says what the words leave open: sense, gender or number."""

from __future__ import annotations

from dataclasses import dataclass

from sightweave.data.scenes.grammar import NUMBER_TEMPLATES, TEMPLATES, Described, number_sentences, sentence
from sightweave.data.scenes.lexicon import HOMONYMS, LANGUAGES, SENSES, differs, other_sense
from sightweave.data.scenes.questions import is_on
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.view import View

_TARGETS = {word: tuple(lang for lang in LANGUAGES[1:] if differs(word, lang)) for word in HOMONYMS}
"""Where a homonym has one word for both senses (German "Maus"), there is nothing to choose."""
_AMBIGUOUS = tuple(template for template in TEMPLATES if template != "two")
_FOLD = 6


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A sentence and its translation."""

    type: str
    """``ambiguous``, ``plain`` or ``number``."""
    template: str
    source: str
    target: str
    source_language: str
    target_language: str
    word: str = ""
    """The homonym, for ``ambiguous``."""
    sense: str = ""
    contrast: str = ""
    """The whole translation of the other sense."""


def is_held_out(word: str, template: str) -> bool:
    """Whether a homonym is translated in this sentence only in ``combinations``: one pair in six, whole words."""
    return (HOMONYMS.index(word) + _AMBIGUOUS.index(template)) % _FOLD == 0


def ambiguous(view: View, random: Random) -> Pair | None:
    """This is a bat."""
    subjects = [number for number, fact in enumerate(view.facts) if fact.noun.word in SENSES]
    if not subjects:
        return None
    number = random.choice(subjects)
    fact = view.facts[number]
    word = fact.noun.word
    templates = [template for template in _AMBIGUOUS if is_held_out(word, template) == view.allows_held_out]
    for template in random.drawn(templates):
        things = _arguments(view, random, template, number)
        if things is None:
            continue
        language = random.choice(_TARGETS[word])
        side = _side(view, number)
        other = (Described(other_sense(fact.noun.name), things[0].size), *things[1:])
        return Pair(
            type="ambiguous",
            template=template,
            source=sentence(template, "en", things, side),
            target=sentence(template, language, things, side),
            source_language="en",
            target_language=language,
            word=word,
            sense=fact.noun.name,
            contrast=sentence(template, language, other, side),
        )
    return None


def plain(view: View, random: Random, *, into_english: bool) -> Pair | None:
    """This is a dog: no homonym, so that the words alone decide."""
    subjects = [number for number, fact in enumerate(view.facts) if fact.noun.word not in SENSES]
    if not subjects:
        return None
    language = random.choice(LANGUAGES[1:])
    source, target = (language, "en") if into_english else ("en", language)
    number = random.choice(subjects)
    for template in random.drawn(tuple(TEMPLATES)):
        things = _arguments(view, random, template, number)
        if things is not None:
            side = _side(view, number)
            first, second = (sentence(template, lang, things, side) for lang in (source, target))
            return Pair("plain", template, first, second, source, target)
    return None


def _arguments(view: View, random: Random, template: str, number: int) -> tuple[Described, ...] | None:
    """The template's things with what is said of them; None where the sentence would not be true here."""
    fact = view.facts[number]
    slots = TEMPLATES[template].slots
    fitting = view.masks[fact.short].bit_count()
    if template == "two":
        return (_without(fact.described, size=True, stripes=True),) if fitting == 2 else None
    if slots[0].article == "the" and fitting > 1:
        return None
    if template == "side" and not _side(view, number):
        return None
    first = _without(fact.described, stripes=fitting > 1 or random.below(2) == 0)
    if len(slots) == 1:
        return (first,)
    others = [
        other for other in view.facts if other.noun.word != fact.noun.word and other.noun.word not in SENSES
    ]
    if not others:
        return None
    second = _without(random.choice(others).described, size=not slots[1].size, stripes=random.below(2) == 0)
    return first, second


def _without(thing: Described, *, size: bool = False, stripes: bool = False) -> Described:
    return Described(thing.noun, "" if size else thing.size, thing.striped and not stripes, thing.color)


def _side(view: View, number: int) -> str:
    x = view.things[number].x
    return next((side for side in ("left", "right") if is_on(side, x)), "")


def number(view: View, random: Random) -> Pair | None:
    """Chinese says "dog" for one and for two; asked only where the picture has one of something and two of another.

    So the coin, and not what happens to be there, decides between one and two.
    """
    found: dict[tuple[bool, bool], dict[int, list[Described]]] = {}
    for said, mask in view.masks.items():
        if said.level != "noun" or said.size or said.striped:
            continue
        number, first = mask.bit_count(), view.facts[(mask & -mask).bit_length() - 1].noun
        if number <= 2 and first.word not in SENSES:
            form = (first.is_shape, bool(said.color))
            found.setdefault(form, {}).setdefault(number, []).append(Described(first, color=said.color))
    forms = [form for form, numbers in found.items() if len(numbers) == 2]
    if not forms:
        return None
    numbers = found[random.choice(forms)]
    amount = random.between(1, 2)
    template = random.choice(tuple(NUMBER_TEMPLATES))
    chinese, english = number_sentences(template, random.choice(numbers[amount]), amount)
    return Pair("number", template, chinese, english, "zh", "en")
