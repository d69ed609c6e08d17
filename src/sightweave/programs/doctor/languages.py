"""Guesses the language of a text: by its script, and for Latin letters by the most common short words."""

from __future__ import annotations

import re
from collections import Counter

_MAX_CHARACTERS = 20_000  # number of characters to read; more would not change the guess
_WORD = re.compile(r"[^\W\d_]+")
_SCRIPTS = (
    ("ja", "\u3040", "\u30ff"), ("ko", "\uac00", "\ud7a3"), ("ko", "\u1100", "\u11ff"), ("zh", "\u4e00", "\u9fff"),
    ("zh", "\u3400", "\u4dbf"), ("ar", "\u0600", "\u06ff"), ("he", "\u0590", "\u05ff"), ("hi", "\u0900", "\u097f"),
    ("bn", "\u0980", "\u09ff"), ("ta", "\u0b80", "\u0bff"), ("th", "\u0e00", "\u0e7f"), ("ru", "\u0400", "\u04ff"),
    ("el", "\u0370", "\u03ff"),
)  # fmt: skip
_RANGES = [f"{low}-{high}" for _, low, high in _SCRIPTS]
_OTHERS = re.compile("[" + "".join(_RANGES) + "]")
_UKRAINIAN, _RUSSIAN = re.compile("[\u0456\u0457\u0454\u0491]"), re.compile("[\u044b\u044d\u044a\u0451]")
# Common words of each language; a word that several languages share counts less for each of them.
# ruff: noqa: RUF001
_WORDS = {
    "en": "the of and to in is that it was for on are with as his they at be this have from or had by what which how "
    "there where who color many does you not a an he she has can do were when",
    "de": "der die das und ist in den von zu mit sich des auf nicht ein eine dem es auch als wie was wo wer welche "
    "wieviele sind im am an einer einem einen ich er sie wir hat bei aus nach",
    "fr": "le la les de des et est un une du en que qui dans pour pas sur au il elle ce cette sont avec plus quel "
    "quelle combien quoi aux se par ne ou l d je vous nous",
    "es": "el la los las de y en que un una es por con para del se no al lo su como qué cuál cuántos dónde está son hay "
    "más muy pero este esta hombre",
    "it": "il lo la i gli le di e che un una è per con non del della in sono si da al dei nel cosa quale quanti dove "
    "più anche ma questo questa ci come alla",
    "pt": "o a os as de e que um uma é em do da no na para com não por mais dos das se qual quantos onde está são "
    "ao como mas foi ele ela isso este pelo",
    "nl": "de het een en van is in op te dat die met voor niet zijn er aan wat hoe welke waar hoeveel ook als bij naar "
    "maar om door over uit ik hij zij wordt heeft",
    "cs": "a je se v na to že s z do o i jak co kde kdo kolik jsou pro po by ale jsem ten ta tak jeho nebo ve byl který "
    "která jaká jakou má při",
    "pl": "i w na z do jest się że nie to co jak gdzie kto ile są dla po o ale od ten ta ma przez jego czy za był "
    "który która jaki jaka przy oraz",
    "tr": "ve bir bu da de ne için ile çok nasıl nerede kim kaç var mı mi mu o şu gibi daha olan hangi değil ama "
    "olarak sonra her ben sen en yok",
}
_SETS = {language: frozenset(words.split()) for language, words in _WORDS.items()}
_SHARED = Counter(word for words in _SETS.values() for word in words)
_SPEAKERS: dict[str, list[str]] = {}
"""Maps each word to the languages in which it is common."""
for _language, _words in _SETS.items():
    for _word in _words:
        _SPEAKERS.setdefault(_word, []).append(_language)
_LETTERS = {
    "de": "äöüß", "fr": "àâçèêîôûœù", "es": "ñ¿¡áóú", "it": "ìòàùè",
    "pt": "ãõç", "cs": "ěščřžůý", "pl": "ąęłśźżńć", "tr": "ığşçöü",
}  # fmt: skip


def language_of(text: str) -> str:
    """The two-letter code of the language, or ``und`` if it cannot be determined.

    By script: zh, ja, ko, ar, he, hi, bn, ta, th, ru, uk, el (other languages in these scripts are taken for one of them).
    By short words: en, de, fr, es, it, pt, nl, cs, pl, tr. Single words and names are mostly ``und``.
    """
    text = text[:_MAX_CHARACTERS].lower()

    words = _WORD.findall(text)
    letters = sum(map(len, words))

    # Two letters of another script count as much as a word in Latin letters.
    others = _OTHERS.findall(text)
    if others and 3 * len(others) >= letters:
        return _by_script(text, others)
    return _by_words(text, words)


def _by_script(text: str, letters: list[str]) -> str:
    counts: Counter[str] = Counter()
    for letter, count in Counter(letters).items():
        language = next(name for name, low, high in _SCRIPTS if low <= letter <= high)
        counts[language] += count

    # Japanese writes most nouns in Chinese characters, so a few kana are enough to recognise it.
    if counts["ja"] * 10 >= counts["zh"] and counts["ja"]:
        return "ja"

    best = counts.most_common(1)[0][0]
    if best == "ru" and len(_UKRAINIAN.findall(text)) > len(_RUSSIAN.findall(text)):
        return "uk"
    return best


def _by_words(text: str, words: list[str]) -> str:
    scores = dict.fromkeys(_SETS, 0.0)
    for word in words:
        for language in _SPEAKERS.get(word, ()):
            scores[language] += 1 / _SHARED[word]
    if not any(scores.values()):
        return "und"

    # Take letters into account that only a few languages have.
    if not text.isascii():
        marks = Counter(mark for mark in text if mark > "\x7f")
        for language, own in _LETTERS.items():
            count = sum(marks[mark] for mark in own)
            scores[language] += 0.3 * min(count, len(words))

    # The best language must be frequent enough and clearly ahead of the second.
    best, second = sorted(scores, key=lambda name: -scores[name])[:2]
    if scores[best] < 0.75 or scores[best] < 0.08 * len(words) or scores[best] < 1.15 * scores[second]:
        return "und"
    return best
