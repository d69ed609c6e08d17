"""Makes noun phrases and sentences in four languages, with their articles, agreement and word order.

German adjectives have endings for case and gender. French adjectives agree with the noun; sizes precede it, and other
adjectives follow it. Chinese has no articles, but a measure word between number and noun.
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
_VOWELS = "aeiouhéèêâîôœ"  # the letter h is silent in all French nouns of the table


@dataclass(frozen=True, slots=True)
class Described:
    """A noun with the attributes that a phrase mentions."""

    noun: Noun
    size: str = ""
    striped: bool = False
    color: str = ""


def english_article(phrase: str) -> str:
    """An English phrase with its indefinite article, ``a`` or ``an``."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


@cache
def noun_phrase(language: str, thing: Described, article: str, case: str = "nominative") -> str:
    """A noun phrase in one language.

    Args:
        language: ``en``, ``de``, ``fr`` or ``zh``.
        thing: The noun and its attributes.
        article: ``a``, ``the`` or ``two``; empty for none (only for the singular in Chinese and English).
        case: ``nominative`` or ``accusative``, which differ only in German.
    """
    if language == "en":
        return _english(thing, article)
    if language == "de":
        return _german(thing, article, case)
    return _french(thing, article) if language == "fr" else _chinese(thing, article)


def _adjectives(thing: Described) -> list[str]:
    """The adjectives of a phrase, in the order of English and German."""
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
    # The forms are masculine, feminine, masculine plural and feminine plural.
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
    """The form of a noun phrase in a template."""

    article: str
    case: str = "nominative"
    size: bool = False
    """Whether the phrase mentions the size; a shape's colour is always mentioned."""


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence pattern with slots for one or two things, in all languages."""

    slots: tuple[Slot, ...]
    patterns: dict[str, str]
    """The pattern by language, with ``{0}`` for the first thing, ``{1}`` for the second, ``{side}`` and ``{size}``."""


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
"""Templates of the sentences to translate, by name; ``two`` is for images that show exactly two of a thing."""
SIDES = {
    "left": {"en": "left", "de": "links", "fr": "gauche", "zh": "左边"},
    "right": {"en": "right", "de": "rechts", "fr": "droite", "zh": "右边"},
}
NUMBER_TEMPLATES = {
    "number_here": ("这里有{0}。", "There is {0}.", "There are {0}."),
    "number_see": ("我看见{0}。", "I see {0}.", "I see {0}."),
    "number_picture": ("图里有{0}。", "There is {0} in the picture.", "There are {0} in the picture."),
}
"""Sentence patterns by name: in Chinese without a number, in English for one thing, and in English for two."""


@lru_cache(maxsize=1 << 16)
def sentence(template: str, language: str, things: tuple[Described, ...], side: str = "") -> str:
    """Fills in a template in one language.

    Args:
        template: A key of `TEMPLATES`.
        language: ``en``, ``de``, ``fr`` or ``zh``.
        things: One thing per slot of the template; its size is mentioned only if the slot requires it.
        side: ``left`` or ``right``, for the template ``side`` only.
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
    """The form of an adjective after "is", such as in "the dog is big"."""
    if language == "en":
        return adjective
    if language == "de":
        return GERMAN_ADJECTIVES[adjective]
    if language == "fr":
        return FRENCH_ADJECTIVES[adjective][noun.french_gender == "f"]
    return CHINESE_ADJECTIVES[adjective]


def number_sentences(template: str, thing: Described, number: int) -> tuple[str, str]:
    """A Chinese sentence without a number, and its English translation for one or two things.

    Args:
        template: A key of `NUMBER_TEMPLATES`.
        thing: The noun and its attributes.
        number: 1 or 2.
    """
    chinese, one, two = NUMBER_TEMPLATES[template]
    english = one if number == 1 else two
    article = "a" if number == 1 else "two"
    return chinese.format(noun_phrase("zh", thing, "")), english.format(noun_phrase("en", thing, article))


def adjective_forms(adjective: str) -> Iterator[str]:
    """Yields all forms that an English adjective and its translations take in singular phrases."""
    yield adjective

    stem = GERMAN_ADJECTIVES[adjective]
    if adjective in SIZES:  # sizes also occur after "ist", where they have no ending
        yield stem
    for ending in ("e", "er", "es", "en"):
        yield stem + ending

    yield from dict.fromkeys(FRENCH_ADJECTIVES[adjective][:2])
    yield CHINESE_ADJECTIVES[adjective]
