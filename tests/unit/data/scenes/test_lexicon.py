"""The table of words."""

from sightweave.data.scenes.lexicon import (
    HOMONYMS,
    LANGUAGES,
    NOUNS,
    PLAIN,
    SENSES,
    SHAPES,
    differs,
    other_sense,
)


def test_everything_has_its_words():
    assert (len(SHAPES), len(PLAIN), len(HOMONYMS), len(NOUNS)) == (6, 28, 18, 70)
    for noun in NOUNS.values():
        assert noun.german_gender in ("m", "f", "n")
        assert noun.french_gender in ("m", "f")
        assert len(noun.measure) == 1
        forms = (*noun.english, *noun.german, *noun.french, noun.chinese)
        assert all(form and form == form.strip() for form in forms)
        assert all(form[0].isupper() for form in noun.german)


def test_senses_share_english_and_part_elsewhere():
    for word, (first, second) in SENSES.items():
        assert NOUNS[first].english == NOUNS[second].english
        assert other_sense(first) is NOUNS[second]
        assert other_sense(second) is NOUNS[first]
        assert any(differs(word, language) for language in LANGUAGES)
        assert not differs(word, "en")


def test_one_word_for_both_senses():
    assert not differs("mouse", "de")
    assert not differs("crane", "fr")
    assert not differs("doctor", "zh")
    assert differs("mouse", "zh")


def test_no_two_things_share_a_name_in_english():
    words = [NOUNS[name].english[0] for name in (*SHAPES, *PLAIN)] + [
        SENSES[w][0].partition("_")[0] for w in HOMONYMS
    ]
    assert len(set(words)) == len(words) == 52


def test_spot_checks():
    bat, club = NOUNS["bat_animal"], NOUNS["bat_club"]
    assert (bat.singular("de"), bat.german_gender, bat.french[1]) == ("Fledermaus", "f", "chauves-souris")
    assert (club.singular("de"), club.german_gender, club.measure) == ("Schläger", "m", "根")
    assert NOUNS["letter_a"].german == ("Buchstabe", "Buchstaben", "Buchstaben")
    assert NOUNS["horse"].french == ("cheval", "chevaux")
    assert (NOUNS["mouse_animal"].english[1], NOUNS["fish"].english[1]) == ("mice", "fish")
