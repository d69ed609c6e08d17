"""Noun phrases and sentences in four languages: articles, agreement, word order.

German adjectives have endings for case and gender. French adjectives agree with the noun; sizes precede it, the others
follow it. Chinese has no articles, but a measure word between number and noun.
"""

# ruff: noqa: RUF001  # Chinese text has Chinese punctuation

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from sightweave.data.scenes.lexicon import (
    CHINESE_ADJECTIVES,
    FRENCH_ADJECTIVES,
    GERMAN_ADJECTIVES,
    NUMBER_WORDS,
    SIZES,
    Noun,
)

_GERMAN_ARTICLES = {
    ("a", "nominative"): {"m": "ein", "f": "eine", "n": "ein"},
    ("a", "accusative"): {"m": "einen", "f": "eine", "n": "ein"},
    ("the", "nominative"): {"m": "der", "f": "die", "n": "das"},
    ("the", "accusative"): {"m": "den", "f": "die", "n": "das"},
}
_GERMAN_ENDINGS = {
    ("a", "nominative"): {"m": "er", "f": "e", "n": "es"},
    ("a", "accusative"): {"m": "en", "f": "e", "n": "es"},
    ("the", "nominative"): {"m": "e", "f": "e", "n": "e"},
    ("the", "accusative"): {"m": "en", "f": "e", "n": "e"},
}
_VOWELS = "aeiouhéèêâîôœ"  # every h is silent in the French nouns of the table


@dataclass(frozen=True, slots=True)
class Described:
    """A noun with the attributes to mention."""

    noun: Noun
    size: str = ""
    striped: bool = False
    color: str = ""


def english_article(phrase: str) -> str:
    """The phrase with ``a`` or ``an`` before it."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


@cache
def noun_phrase(language: str, thing: Described, article: str, case: str = "nominative") -> str:
    """One noun phrase.

    Args:
        language: ``en``, ``de``, ``fr`` or ``zh``.
        thing: The noun and its attributes.
        article: ``a``, ``the`` or ``two``; empty for none (only in Chinese and English, singular).
        case: ``nominative`` or ``accusative``; they differ only in German.
    """
    if language == "en":
        return _english(thing, article)
    if language == "de":
        return _german(thing, article, case)
    return _french(thing, article) if language == "fr" else _chinese(thing, article)


def _adjectives(thing: Described) -> list[str]:
    """The adjectives in English and German order."""
    return [word for word in (thing.size, "striped" if thing.striped else "", thing.color) if word]


def _english(thing: Described, article: str) -> str:
    phrase = " ".join([*_adjectives(thing), thing.noun.english[article == "two"]])
    return english_article(phrase) if article == "a" else f"{article} {phrase}".strip()


def _german(thing: Described, article: str, case: str) -> str:
    gender = thing.noun.german_gender
    if article == "two":
        first, ending, noun = NUMBER_WORDS["de"], "e", thing.noun.german[2]
    else:
        first = _GERMAN_ARTICLES[article, case][gender]
        ending = _GERMAN_ENDINGS[article, case][gender]
        noun = thing.noun.german[case == "accusative"]

    adjectives = [GERMAN_ADJECTIVES[word] + ending for word in _adjectives(thing)]
    return " ".join([first, *adjectives, noun])


def _french(thing: Described, article: str) -> str:
    # Masculine, feminine, masculine plural, feminine plural.
    form = (thing.noun.french_gender == "f") + 2 * (article == "two")
    words = [thing.noun.french[article == "two"]]
    if thing.size:
        words.insert(0, FRENCH_ADJECTIVES[thing.size][form])
    if thing.color:
        words.append(FRENCH_ADJECTIVES[thing.color][form])
    if thing.striped:
        words.append(FRENCH_ADJECTIVES["striped"][form])
    phrase = " ".join(words)

    if article == "two":
        return f"{NUMBER_WORDS['fr']} {phrase}"
    if article == "a":
        return f"{'une' if form else 'un'} {phrase}"
    if phrase[0] in _VOWELS:
        return f"l'{phrase}"
    return f"{'la' if form else 'le'} {phrase}"


def _chinese(thing: Described, article: str) -> str:
    first = {"a": "一", "two": NUMBER_WORDS["zh"]}.get(article, "")
    measure = thing.noun.measure if first else ""
    words = [
        CHINESE_ADJECTIVES[thing.color] if thing.color else "",
        CHINESE_ADJECTIVES["striped"] if thing.striped else "",
        CHINESE_ADJECTIVES[thing.size] if thing.size else "",
    ]
    return first + measure + "".join(words) + thing.noun.chinese


@dataclass(frozen=True, slots=True)
class Slot:
    """How one of the things of a template is described."""

    article: str
    case: str = "nominative"
    size: bool = False
    """Whether to mention the size; a shape's colour is always mentioned."""


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence with one or two things in it, in every language."""

    slots: tuple[Slot, ...]
    patterns: dict[str, str]
    """The sentence in each language, with ``{0}`` for the first thing, ``{1}`` for the second, ``{side}`` and ``{size}``."""


TEMPLATES = {
    "this": Template(
        (Slot("a"),), {"en": "This is {0}.", "de": "Das ist {0}.", "fr": "C'est {0}.", "zh": "这是{0}。"}
    ),
    "there": Template(
        (Slot("a", size=True),),
        {"en": "There is {0}.", "de": "Da ist {0}.", "fr": "Il y a {0}.", "zh": "这里有{0}。"},
    ),
    "side": Template(
        (Slot("the"),),
        {
            "en": "{0} is on the {side}.",
            "de": "{0} ist {side}.",
            "fr": "{0} est à {side}.",
            "zh": "{0}在{side}。",
        },
    ),
    "see": Template(
        (Slot("a", "accusative"), Slot("a", "accusative")),
        {
            "en": "I see {0} and {1}.",
            "de": "Ich sehe {0} und {1}.",
            "fr": "Je vois {0} et {1}.",
            "zh": "我看见{0}和{1}。",
        },
    ),
    "and": Template(
        (Slot("the"), Slot("a", size=True)),
        {"en": "{0} and {1}.", "de": "{0} und {1}.", "fr": "{0} et {1}.", "zh": "{0}和{1}。"},
    ),
    "where": Template(
        (Slot("the"),),
        {"en": "Where is {0}?", "de": "Wo ist {0}?", "fr": "Où est {0} ?", "zh": "{0}在哪里？"},
    ),
    "here": Template(
        (Slot("the", size=True),),
        {"en": "Here is {0}.", "de": "Hier ist {0}.", "fr": "Voici {0}.", "zh": "{0}在这里。"},
    ),
    "size": Template(
        (Slot("the"),),
        {"en": "{0} is {size}.", "de": "{0} ist {size}.", "fr": "{0} est {size}.", "zh": "{0}很{size}。"},
    ),
    "two": Template(
        (Slot("two"),),
        {"en": "There are {0}.", "de": "Da sind {0}.", "fr": "Il y a {0}.", "zh": "这里有{0}。"},
    ),
}
"""The sentences to translate. ``two`` is used if the image shows two of a thing."""
SIDES = {
    "left": {"en": "left", "de": "links", "fr": "gauche", "zh": "左边"},
    "right": {"en": "right", "de": "rechts", "fr": "droite", "zh": "右边"},
}
NUMBER_TEMPLATES = {
    "number_here": ("这里有{0}。", "There is {0}.", "There are {0}."),
    "number_see": ("我看见{0}。", "I see {0}.", "I see {0}."),
    "number_picture": ("图里有{0}。", "There is {0} in the picture.", "There are {0} in the picture."),
}
"""A Chinese sentence without a number, and the English ones for one and for two things."""


@lru_cache(maxsize=1 << 16)
def sentence(template: str, language: str, things: tuple[Described, ...], side: str = "") -> str:
    """A template's sentence in one language.

    Args:
        template: A key of `TEMPLATES`.
        language: ``en``, ``de``, ``fr`` or ``zh``.
        things: One thing per slot of the template; their sizes are mentioned only if the slot has the size.
        side: ``left`` or ``right``; only for the template ``side``.
    """
    slots, pattern = TEMPLATES[template].slots, TEMPLATES[template].patterns[language]
    phrases = []
    for slot, thing in zip(slots, things, strict=True):
        described = thing if slot.size else Described(thing.noun, "", thing.striped, thing.color)
        phrases.append(noun_phrase(language, described, slot.article, slot.case))

    side_word = SIDES[side][language] if side else ""
    size_word = predicate(language, things[0].noun, things[0].size) if template == "size" else ""
    text = pattern.format(*phrases, side=side_word, size=size_word)
    return text[0].upper() + text[1:]


def predicate(language: str, noun: Noun, adjective: str) -> str:
    """The form of an adjective after ``is``."""
    if language == "en":
        return adjective
    if language == "de":
        return GERMAN_ADJECTIVES[adjective]
    if language == "fr":
        return FRENCH_ADJECTIVES[adjective][noun.french_gender == "f"]
    return CHINESE_ADJECTIVES[adjective]


def number_sentences(template: str, thing: Described, number: int) -> tuple[str, str]:
    """The Chinese sentence without the number, and the English one for one or two things."""
    chinese, one, two = NUMBER_TEMPLATES[template]
    english = one if number == 1 else two
    article = "a" if number == 1 else "two"
    return chinese.format(noun_phrase("zh", thing, "")), english.format(noun_phrase("en", thing, article))


def adjective_forms(adjective: str) -> Iterator[str]:
    """Every form of an adjective in singular phrases, in all languages."""
    yield adjective

    stem = GERMAN_ADJECTIVES[adjective]
    if adjective in SIZES:  # sizes also occur after "ist", without an ending
        yield stem
    for ending in ("e", "er", "es", "en"):
        yield stem + ending

    yield from dict.fromkeys(FRENCH_ADJECTIVES[adjective][:2])
    yield CHINESE_ADJECTIVES[adjective]
