"""Makes sentence pairs for translation; some need the image to determine the sense, gender or number of a word."""

from __future__ import annotations

from dataclasses import dataclass

from sightweave.data.scenes.grammar import NUMBER_TEMPLATES, TEMPLATES, Described, number_sentences, sentence
from sightweave.data.scenes.lexicon import HOMONYMS, LANGUAGES, SENSES, differs, other_sense
from sightweave.data.scenes.questions import is_on
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.view import View


def _languages_that_differ(word: str) -> tuple[str, ...]:
    return tuple(language for language in LANGUAGES[1:] if differs(word, language))


_TARGETS = {word: _languages_that_differ(word) for word in HOMONYMS}
"""Target languages of each homonym; languages that use the same word for both senses (German "Maus") are excluded."""
_AMBIGUOUS = tuple(template for template in TEMPLATES if template != "two")
_FOLD = 6


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A sentence and its translation."""

    type: str
    """Type of the pair: ``ambiguous``, ``plain`` or ``number``."""
    template: str
    source: str
    target: str
    source_language: str
    target_language: str
    word: str = ""
    """The homonym of an ``ambiguous`` pair."""
    sense: str = ""
    contrast: str = ""
    """The translation with the other sense of the homonym."""


def is_held_out(word: str, template: str) -> bool:
    """Whether a homonym occurs in a template only in the split ``combinations``, as one in six such pairs do."""
    return (HOMONYMS.index(word) + _AMBIGUOUS.index(template)) % _FOLD == 0


def ambiguous(view: View, random: Random) -> Pair | None:
    """Makes a pair whose sentence has a homonym, such as "This is a bat.", so that only the image shows its sense."""
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

        # The contrast is the same sentence with the other sense of the homonym.
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
    """Makes a pair without homonyms, such as "This is a dog.", so that the words alone determine the translation."""
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
            source_text = sentence(template, source, things, side)
            target_text = sentence(template, target, things, side)
            return Pair("plain", template, source_text, target_text, source, target)
    return None


def _arguments(view: View, random: Random, template: str, number: int) -> tuple[Described, ...] | None:
    """Chooses the things and attributes for a template's slots; None if the sentence would not be true in this scene."""
    fact = view.facts[number]
    slots = TEMPLATES[template].slots
    num_fitting = view.masks[fact.short].bit_count()

    # Check that the template's statement about the first thing is true.
    if template == "two":
        return (_without(fact.described, size=True, stripes=True),) if num_fitting == 2 else None
    if slots[0].article == "the" and num_fitting > 1:
        return None
    if template == "side" and not _side(view, number):
        return None
    first = _without(fact.described, stripes=num_fitting > 1 or random.below(2) == 0)
    if len(slots) == 1:
        return (first,)

    # The second thing must have another noun and must not be a homonym.
    words = {fact.noun.word, *SENSES}
    others = [other for other in view.facts if other.noun.word not in words]
    if not others:
        return None
    second = _without(random.choice(others).described, size=not slots[1].size, stripes=random.below(2) == 0)
    return first, second


def _without(thing: Described, *, size: bool = False, stripes: bool = False) -> Described:
    return Described(thing.noun, "" if size else thing.size, thing.striped and not stripes, thing.color)


def _side(view: View, number: int) -> str:
    """The side of the image that a thing is on, ``left`` or ``right``; empty near the middle."""
    x = view.things[number].x
    if is_on("left", x):
        return "left"
    return "right" if is_on("right", x) else ""


def number(view: View, random: Random) -> Pair | None:
    """Makes a pair from Chinese to English in which only the image shows the number, since Chinese nouns have no plural.

    The scene must have one thing of some kind and two of another. The number is then drawn at random, so that it does not
    depend on how frequent each is in scenes.
    """
    # Collect nouns of which there are one or two, by their form and this number.
    by_form: dict[tuple[bool, bool], dict[int, list[Described]]] = {}
    for phrase, mask in view.masks.items():
        if phrase.level != "noun" or phrase.size or phrase.striped:
            continue
        first_thing = (mask & -mask).bit_length() - 1
        noun = view.facts[first_thing].noun
        if mask.bit_count() > 2 or noun.word in SENSES:
            continue
        by_number = by_form.setdefault((noun.is_shape, bool(phrase.color)), {})
        by_number.setdefault(mask.bit_count(), []).append(Described(noun, color=phrase.color))

    forms = [form for form, by_number in by_form.items() if len(by_number) == 2]
    if not forms:
        return None

    by_number = by_form[random.choice(forms)]
    amount = random.between(1, 2)
    template = random.choice(tuple(NUMBER_TEMPLATES))
    chinese, english = number_sentences(template, random.choice(by_number[amount]), amount)
    return Pair("number", template, chinese, english, "zh", "en")
