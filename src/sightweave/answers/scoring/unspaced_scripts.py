"""Recognises scripts that are written without spaces between words, and splits their texts into characters.

Without spaces, a sentence is a single token to any tokenizer that splits at spaces, and every score based on n-grams is
0 unless the whole sentence is right. Characters are the usual tokens for these scripts (sacreBLEU's ``zh`` and ``char``
use them too).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_RANGES = (
    ("Han", "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"),
    ("Han", "\U00020000-\U0003ffff"),
    ("Japanese", "\u3041-\u309f\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f"),
    ("Bopomofo", "\u3100-\u312f\u31a0-\u31bf"),
    ("Thai", "\u0e01-\u0e3a\u0e40-\u0e4e"),
    ("Lao", "\u0e81-\u0ece\u0edc-\u0edf"),
    ("Tibetan", "\u0f00\u0f40-\u0fbc"),
    ("Burmese", "\u1000-\u103f\u1050-\u109f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f"),
    ("Khmer", "\u1780-\u17d3\u17d7\u17dc\u17dd"),
    ("other", "\u1950-\u19df\u1a20-\u1aad\u1b05-\u1b4b\ua980-\ua9c0\uaa80-\uaadf"),  # Tai, Balinese, Javanese
)
"""Name of each script and its characters; Korean is absent because it is written with spaces."""

_ALL_CHARACTERS = "".join(span for _, span in _RANGES)
LETTER = re.compile(f"[{_ALL_CHARACTERS}]")
"""One character of any of these scripts."""
_BY_SCRIPT = tuple((name, re.compile(f"[{span}]")) for name, span in _RANGES)


def unspaced(texts: Iterable[str]) -> str:
    """The script of texts that are written without spaces, such as ``Thai``; empty for all other texts.

    More than half of their letters must belong to such scripts, so that one Chinese word does not make an English caption
    Chinese. Texts with any kana are ``Japanese``.
    """
    num_letters = 0
    scripts = []  # one entry for each letter of these scripts
    for character in "".join(texts):
        if unicodedata.category(character)[0] in "LM":
            num_letters += 1
            if LETTER.match(character):
                scripts.append(_script(character))

    if 2 * len(scripts) <= num_letters:
        return ""

    return "Japanese" if "Japanese" in scripts else scripts[0]


def cut(text: str) -> str:
    """Puts spaces around each character of these scripts; all other words stay whole.

    A vowel sign or tone mark stays with its consonant. Example: two Han characters and ``dog`` become three words.
    """
    pieces = []
    for letter in text:
        is_mark = unicodedata.category(letter)[0] == "M"

        if LETTER.match(letter) and not is_mark:
            pieces.append(f" {letter}")
        elif pieces and is_mark:
            pieces[-1] += letter
        elif pieces and LETTER.match(pieces[-1].lstrip()[:1]):
            pieces.append(f" {letter}")
        else:
            pieces.append(letter)

    return " ".join("".join(pieces).split())


def is_punctuation(token: str) -> bool:
    """Whether a token consists only of punctuation, of any script."""
    return all(unicodedata.category(letter)[0] == "P" for letter in token)


def _script(letter: str) -> str:
    """The name of the script of a letter that matches `LETTER`."""
    return next(name for name, pattern in _BY_SCRIPT if pattern.match(letter))
