"""The texts of signs in English, German and French: short phrases about a thing, and notices such as "exit".

Most phrases are a pattern with a noun, such as "my bat". If the noun is a homonym, only the image shows which sense is
meant, and the translation differs in the noun, and often in the words that agree with it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from sightweave.data.scenes.grammar import Described, noun_phrase
from sightweave.data.scenes.lexicon import HOMONYMS, NOUNS, PLAIN, SENSES, Noun

LANGUAGES = ("en", "de", "fr")
"""Languages of signs: those that the face has letters for."""
_VOWELS = "aeiouhéèêâîôœ"  # the letter h is silent in all French nouns of the table
_ENDINGS = {"m": "er", "f": "e", "n": "es"}
_FOLD = 8
_LONGEST_LINE = 8
"""A text with more characters gets two lines if it has a space."""
MAX_COLUMNS = 14
"""Maximum number of characters of a line."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """The text of a sign in all languages."""

    pattern: str
    """Name of the pattern, a key of `PATTERNS`, or the English text of a notice."""
    noun: str
    """Name of the noun's pictogram, such as ``bat_club``; empty for a notice."""
    texts: tuple[str, str, str]
    """The text in each of `LANGUAGES`, with a line feed between two lines."""

    def text(self, language: str) -> str:
        """The text in one of `LANGUAGES`."""
        return self.texts[LANGUAGES.index(language)]

    @property
    def word(self) -> str:
        """The noun without its sense, such as ``bat``; empty for a notice."""
        return NOUNS[self.noun].word if self.noun else ""


def _before(noun: Noun, masculine: str, feminine: str, masculine_before_vowel: str) -> str:
    """A noun after a French word that agrees with it."""
    word = noun.french[0]
    if noun.french_gender == "f":
        return f"{feminine} {word}"
    return f"{masculine_before_vowel if word[0] in _VOWELS else masculine} {word}"


def _adjective(
    english: str, german: str, french: tuple[str, str, str]
) -> Callable[[Noun], tuple[str, str, str]]:
    """A pattern of an adjective and a noun; the French forms are masculine, feminine, and masculine before a vowel."""

    def texts(noun: Noun) -> tuple[str, str, str]:
        stem = f"{german}{_ENDINGS[noun.german_gender]} {noun.german[0]}"
        return f"{english} {noun.english[0]}", stem, _before(noun, *french)

    return texts


def _possessive(english: str, german: str, french: tuple[str, str]) -> Callable[[Noun], tuple[str, str, str]]:
    """A pattern of "my" or a word like it; before a vowel, French uses the masculine form for feminine nouns too."""

    def texts(noun: Noun) -> tuple[str, str, str]:
        ending = "e" if noun.german_gender == "f" else ""
        word = noun.french[0]
        is_feminine = noun.french_gender == "f" and word[0] not in _VOWELS
        return (
            f"{english} {noun.english[0]}",
            f"{german}{ending} {noun.german[0]}",
            f"{french[is_feminine]} {word}",
        )

    return texts


def _alone(noun: Noun) -> tuple[str, str, str]:
    return noun.english[0], noun.german[0], noun.french[0]


def _no(noun: Noun) -> tuple[str, str, str]:
    german = f"kein{'e' if noun.german_gender == 'f' else ''} {noun.german[0]}"
    french = noun.french[0]
    return f"no {noun.english[0]}", german, f"pas d'{french}" if french[0] in _VOWELS else f"pas de {french}"


def _the(noun: Noun) -> tuple[str, str, str]:
    thing = Described(noun)
    return noun_phrase("en", thing, "the"), noun_phrase("de", thing, "the"), noun_phrase("fr", thing, "the")


def _two(noun: Noun) -> tuple[str, str, str]:
    thing = Described(noun)
    return noun_phrase("en", thing, "two"), noun_phrase("de", thing, "two"), noun_phrase("fr", thing, "two")


def _every(noun: Noun) -> tuple[str, str, str]:
    german = f"jed{_ENDINGS[noun.german_gender]} {noun.german[0]}"
    return f"every {noun.english[0]}", german, f"chaque {noun.french[0]}"


def _here(noun: Noun) -> tuple[str, str, str]:
    return f"{noun.english[0]} here", f"{noun.german[0]} hier", f"{noun.french[0]} ici"


PATTERNS: dict[str, Callable[[Noun], tuple[str, str, str]]] = {
    "alone": _alone,
    "the": _the,
    "no": _no,
    "my": _possessive("my", "mein", ("mon", "ma")),
    "your": _possessive("your", "dein", ("ton", "ta")),
    "every": _every,
    "here": _here,
    "two": _two,
    "big": _adjective("big", "groß", ("grand", "grande", "grand")),
    "small": _adjective("small", "klein", ("petit", "petite", "petit")),
    "new": _adjective("new", "neu", ("nouveau", "nouvelle", "nouvel")),
    "old": _adjective("old", "alt", ("vieux", "vieille", "vieil")),
    "best": _adjective("best", "best", ("meilleur", "meilleure", "meilleur")),
    "this": _adjective("this", "dies", ("ce", "cette", "cet")),
}
"""Functions that make the English, German and French text of a phrase about a noun, by name."""
NOTICES = (
    ("exit", "Ausgang", "sortie"),
    ("entrance", "Eingang", "entrée"),
    ("open", "offen", "ouvert"),
    ("closed", "geschlossen", "fermé"),
    ("welcome", "willkommen", "bienvenue"),
    ("thank you", "danke", "merci"),
    ("please wait", "bitte warten", "veuillez attendre"),
    ("today", "heute", "aujourd'hui"),
    ("for sale", "zu verkaufen", "à vendre"),
    ("not for sale", "unverkäuflich", "pas à vendre"),
)
"""Texts of signs that are not about a thing, in each of `LANGUAGES`."""


def wrapped(text: str) -> str:
    """A text of a sign with a line feed in place of the space that makes its lines most equal in length, if it is long."""
    if len(text) <= _LONGEST_LINE or " " not in text:
        return text

    spaces = [place for place, character in enumerate(text) if character == " "]
    middle = min(spaces, key=lambda place: max(place, len(text) - place - 1))
    return f"{text[:middle]}\n{text[middle + 1 :]}"


@cache
def phrase(pattern: str, noun: str) -> Phrase:
    """The phrase of a pattern and a noun, given by their names."""
    english, german, french = PATTERNS[pattern](NOUNS[noun])
    return Phrase(pattern, noun, (wrapped(english), wrapped(german), wrapped(french)))


def notice(number: int) -> Phrase:
    """One of the `NOTICES` as a phrase."""
    english, german, french = NOTICES[number]
    return Phrase(english, "", (wrapped(english), wrapped(german), wrapped(french)))


@cache
def lines_and_columns(made: Phrase) -> tuple[int, int]:
    """Lines and columns, in characters, that suffice for a phrase in all languages.

    For a homonym, they suffice for both senses, so that the size of a sign does not give the sense away.
    """
    nouns = SENSES.get(made.word, (made.noun,))
    phrases = [phrase(made.pattern, noun) for noun in nouns] if made.noun else [made]
    texts = [text.split("\n") for one in phrases for text in one.texts]
    return max(map(len, texts)), max(len(line) for lines in texts for line in lines)


@cache
def patterns_of(word: str) -> tuple[str, ...]:
    """Names of the patterns in which a noun is short enough for a sign, in all languages and senses."""
    noun = SENSES[word][0] if word in SENSES else word
    fitting = []
    for name in PATTERNS:
        if lines_and_columns(phrase(name, noun))[1] <= MAX_COLUMNS:
            fitting.append(name)
    return tuple(fitting)


WORDS = (*PLAIN, *HOMONYMS)
"""English words of the nouns on signs."""
_WORD_NUMBERS = {word: number for number, word in enumerate(WORDS)}
_PATTERN_NUMBERS = {pattern: number for number, pattern in enumerate(PATTERNS)}
_NOUN_NUMBERS = {noun: number for number, noun in enumerate(NOUNS)}


def is_held_out(word: str, pattern: str) -> bool:
    """Whether a noun occurs in a pattern only in the split ``combinations``, as one in eight such phrases do."""
    return (_WORD_NUMBERS[word] + _PATTERN_NUMBERS[pattern]) % _FOLD == 0


def is_unmet_pair(word: str, thing: str) -> bool:
    """Whether a noun on a sign and another thing in the image occur together only in the split ``combinations``.

    One in eight such pairs do.
    """
    return (3 * _WORD_NUMBERS[word] + _NOUN_NUMBERS[thing]) % _FOLD == 0
