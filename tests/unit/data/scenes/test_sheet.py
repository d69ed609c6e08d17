"""Sheets of pictures with their texts."""

from __future__ import annotations

import numpy as np
import pytest

from sightweave.core.errors import DataError
from sightweave.data.scenes import sheet
from sightweave.data.scenes.sheet import contact_sheet

BLUE = np.full((96, 96, 3), (40, 90, 220), np.uint8)


def ink(image, left: int, top: int, right: int, bottom: int) -> int:
    return int((np.array(image)[top:bottom, left:right] < 128).all(-1).sum())


def test_pictures_stand_enlarged_in_columns_with_their_texts_below():
    image = contact_sheet([BLUE] * 3, ["a dog", "", "a car"], 2)
    assert image.size == (2 * (288 + 12) + 12, 2 * (288 + 20 + 2 * 12))
    assert image.getpixel((13, 13)) == image.getpixel((590, 13)) == (40, 90, 220)
    assert image.getpixel((500, 500)) == (255, 255, 255)
    assert ink(image, 12, 302, 300, 322) > 30
    assert ink(image, 312, 302, 600, 322) == 0


def test_long_texts_are_wrapped_and_never_cut():
    text = "three striped purple circles left of a big car " * 4
    lines = list(sheet._wrap(text.strip(), 288))
    assert " ".join(lines) == text.strip()
    assert len(lines) > 3
    assert all(sheet._width(line) <= 288 for line in lines)
    assert contact_sheet([BLUE], [text], 1).height > contact_sheet([BLUE], ["a"], 1).height


def test_a_word_wider_than_the_picture_is_broken_inside():
    lines = list(sheet._wrap("x" * 100, 288))
    assert len(lines) > 1
    assert "".join(lines) == "x" * 100


def test_line_breaks_are_kept():
    assert list(sheet._wrap("one\n\ntwo", 288)) == ["one", "", "two"]


def test_accents_are_drawn_and_what_no_font_has_becomes_a_question_mark():
    assert sheet._glyph("\u00e9")[0] == "\u00e9"
    assert sheet._glyph("\u00df")[0] == "\u00df"
    assert sheet._glyph("\U0010fffe")[0] == "?"


def test_pictures_may_differ_in_size():
    small = np.zeros((10, 20, 3), np.uint8)
    image = contact_sheet([small, BLUE], ["a", "b"], 2)
    assert image.getpixel((13, 13)) == (0, 0, 0)
    assert image.getpixel((13, 13 + 10 * 15 + 40)) == (255, 255, 255)


def test_wrong_counts_are_refused():
    with pytest.raises(DataError, match=r"needs images and one text for each \(got 1 and 2\)"):
        contact_sheet([BLUE], ["a", "b"], 1)
    with pytest.raises(DataError, match=r"needs images and one text for each \(got 0 and 0\)"):
        contact_sheet([], [], 1)
    with pytest.raises(DataError, match=r"needs at least 1 column \(got 0\)"):
        contact_sheet([BLUE], ["a"], 0)
