"""A guess at the language, and the honesty to say that there is none."""

from __future__ import annotations

import pytest

from sightweave.programs.doctor.texts import language_of

SENTENCES = {
    "en": "What color is the dog?",
    "de": "Welche Farbe hat der Hund auf dem Bild?",
    "fr": "Quelle est la couleur du chien ?",
    "es": "\u00bfDe qu\u00e9 color es el perro?",
    "it": "Di che colore \u00e8 il cane?",
    "pt": "Qual \u00e9 a cor do cachorro?",
    "nl": "Wat is de kleur van de hond?",
    "cs": "Jakou barvu m\u00e1 pes na obr\u00e1zku?",
    "pl": "Jaki kolor ma pies na zdj\u0119ciu?",
    "tr": "K\u00f6pe\u011fin rengi ne ve ka\u00e7 tane var?",
    "zh": "\u8fd9\u53ea\u72d7\u662f\u4ec0\u4e48\u989c\u8272",
    "ja": "\u72ac\u306f\u4f55\u8272\u3067\u3059\u304b",
    "ko": "\uac1c\ub294 \ubb34\uc2a8 \uc0c9",
    "ru": "\u041a\u0430\u043a\u043e\u0433\u043e \u0446\u0432\u0435\u0442\u0430 \u0441\u043e\u0431\u0430\u043a\u0430",
    "uk": "\u0421\u043e\u0431\u0430\u043a\u0430 \u0456 \u0457\u0457 \u0434\u0456\u043c",
    "el": "\u03a4\u03b9 \u03c7\u03c1\u03ce\u03bc\u03b1",
    "ar": "\u0645\u0627 \u0644\u0648\u0646",
    "he": "\u05de\u05d4 \u05d4\u05e6\u05d1\u05e2",
    "hi": "\u0915\u0941\u0924\u094d\u0924\u093e",
    "bn": "\u0995\u09c1\u0995\u09c1\u09b0",
    "ta": "\u0ba8\u0bbe\u0baf\u0bcd",
    "th": "\u0e2b\u0e21\u0e32",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_each_language(language: str) -> None:
    assert language_of(SENTENCES[language]) == language
    assert language_of(SENTENCES[language].upper()) == language or language == "tr"


@pytest.mark.parametrize("text", ["", "Paris", "123", "!?", "dog", "xyzzy plugh"])
def test_what_cannot_be_told_is_und(text: str) -> None:
    assert language_of(text) == "und"


def test_a_foreign_name_does_not_change_the_language() -> None:
    assert language_of("the sign that is on the wall of the house says \u72d7") == "en"
