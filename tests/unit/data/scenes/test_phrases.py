"""Texts of signs: agreement in each language, line breaks, and what is held out."""

import pytest

from sightweave.data.scenes import face
from sightweave.data.scenes.lexicon import HOMONYMS, NOUNS, SENSES
from sightweave.data.scenes.phrases import (
    LANGUAGES,
    MAX_COLUMNS,
    NOTICES,
    PATTERNS,
    WORDS,
    is_held_out,
    lines_and_columns,
    notice,
    patterns_of,
    phrase,
    wrapped,
)


@pytest.mark.parametrize(
    ("pattern", "noun", "texts"),
    [
        ("alone", "bat_animal", ("bat", "Fledermaus", "chauve-souris")),
        ("no", "bat_club", ("no bat", "kein Schläger", "pas de batte")),
        ("no", "ear_head", ("no ear", "kein Ohr", "pas d'oreille")),
        ("my", "ear_head", ("my ear", "mein Ohr", "mon oreille")),
        ("my", "bat_animal", ("my bat", "meine Fledermaus", "ma chauve-souris")),
        ("your", "tree", ("your tree", "dein Baum", "ton arbre")),
        ("new", "tree", ("new tree", "neuer Baum", "nouvel arbre")),
        ("old", "horse", ("old horse", "altes Pferd", "vieux cheval")),
        ("this", "nut_metal", ("this nut", "diese Mutter", "cet écrou")),
        ("big", "flower", ("big flower", "große Blume", "grande fleur")),
        ("two", "horse", ("two horses", "zwei Pferde", "deux chevaux")),
        ("the", "clock", ("the clock", "die Uhr", "l'horloge")),
        ("every", "key", ("every key", "jeder Schlüssel", "chaque clé")),
        ("here", "cake", ("cake here", "Kuchen hier", "gâteau ici")),
    ],
)
def test_words_agree(pattern: str, noun: str, texts: tuple[str, str, str]) -> None:
    assert tuple(text.replace("\n", " ") for text in phrase(pattern, noun).texts) == texts
    assert phrase(pattern, noun).text("de") == wrapped(texts[1])


def test_long_texts_get_two_lines_of_similar_length() -> None:
    assert wrapped("the bat") == "the bat"
    assert wrapped("chauve-souris") == "chauve-souris"
    assert wrapped("chaque ballon de foot") == "chaque ballon\nde foot"


def test_every_sign_can_be_drawn_and_is_short_enough() -> None:
    made = [
        phrase(pattern, noun)
        for word in WORDS
        for noun in SENSES.get(word, (word,))
        for pattern in patterns_of(word)
    ]
    made += [notice(number) for number in range(len(NOTICES))]
    assert len(made) > 800
    for one in made:
        assert face.missing("".join(one.texts)) == ()
        lines, columns = lines_and_columns(one)
        assert 1 <= lines <= 2
        assert columns <= MAX_COLUMNS
        for language in LANGUAGES:
            own = one.text(language).split("\n")
            assert len(own) <= lines
            assert max(map(len, own)) <= columns


def test_the_size_of_a_sign_does_not_give_the_sense_away() -> None:
    for word in HOMONYMS:
        first, second = SENSES[word]
        for pattern in PATTERNS:
            assert lines_and_columns(phrase(pattern, first)) == lines_and_columns(phrase(pattern, second))


def test_some_phrases_of_every_pattern_and_nearly_every_noun_are_held_out() -> None:
    held = [(word, pattern) for word in WORDS for pattern in PATTERNS if is_held_out(word, pattern)]
    assert {pattern for _, pattern in held} == set(PATTERNS)
    assert {word for word, _ in held} == set(WORDS)
    assert len(held) < len(WORDS) * len(PATTERNS) / 7
    assert {NOUNS[noun].word for noun in NOUNS if not NOUNS[noun].is_shape} == set(WORDS)
