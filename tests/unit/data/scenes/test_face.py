"""The bitmap face of signs: every letter is there, is like no other, and stays within its cell."""

import itertools

import numpy as np
import pytest

from sightweave.core.errors import DataError
from sightweave.data.scenes import face
from sightweave.data.scenes.lexicon import FRENCH_ADJECTIVES, GERMAN_ADJECTIVES, NOUNS


@pytest.mark.parametrize("weight", face.WEIGHTS)
def test_no_two_characters_look_alike(weight: str) -> None:
    cells = {character: face.glyph(character, weight) for character in face.CHARACTERS}
    for (first, one), (second, other) in itertools.combinations(cells.items(), 2):
        assert (one != other).sum() >= 2, f"{first} and {second} differ in one dot at most"


@pytest.mark.parametrize("weight", face.WEIGHTS)
def test_letters_are_separated_and_have_ink(weight: str) -> None:
    for character in face.CHARACTERS:
        cell = face.glyph(character, weight)
        assert cell.shape == (face.CELL_HEIGHT, face.CELL_WIDTHS[weight])
        assert not cell[:, -1].any(), character
        assert cell.any() == (character != " "), character
        assert not cell.flags.writeable


def test_bold_has_more_ink() -> None:
    for character in face.CHARACTERS:
        regular, bold = face.glyph(character), face.glyph(character, "bold")
        assert character == " " or bold.sum() > regular.sum(), character


def test_the_accents_of_english_german_and_french_are_there() -> None:
    needed = "ÄÖÜäöüßÀÂÇÈÉÊËÎÏÔŒÙÛÜŸÆàâçèéêëîïôœùûüÿæ"
    words = [form for forms in FRENCH_ADJECTIVES.values() for form in forms] + list(
        GERMAN_ADJECTIVES.values()
    )
    for noun in NOUNS.values():
        words += [*noun.english, *noun.german, *noun.french]
    assert face.missing(needed + "".join(words)) == ()


def test_an_accent_is_above_its_letter() -> None:
    for accented, letter in zip("ÄÉéüàê", "AEeuae", strict=True):
        with_mark, without = face.glyph(accented), face.glyph(letter)
        first = int(np.flatnonzero(without.any(1))[0])
        assert (with_mark[first:] == without[first:]).all()
        assert with_mark[:first].any()


def test_a_missing_glyph_is_an_error_that_names_character_and_face() -> None:
    with pytest.raises(DataError, match=r"the face 'sightweave' has no glyph for '汉' \(U\+6C49\)"):
        face.text_bitmap("a汉")
    assert face.missing("a汉\n字汉") == ("汉", "字")
    with pytest.raises(DataError, match="no weight 'heavy'"):
        face.glyph("a", "heavy")
    with pytest.raises(DataError, match="no text to draw"):
        face.text_bitmap("\n")


def test_lines_are_centred() -> None:
    bitmap = face.text_bitmap("abc\nb")
    assert bitmap.shape == (24, 18)
    assert (bitmap[12:, 6:12] == face.glyph("b")).all()
    assert bitmap[12:].sum() == face.glyph("b").sum()
