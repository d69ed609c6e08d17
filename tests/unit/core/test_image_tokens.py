"""The numbering of image tokens, and the form of a picture in a sequence."""

from __future__ import annotations

import pytest

from sightweave.core.errors import DataError
from sightweave.core.image_tokens import ImageTokens, Picture, Text

TOKENS = ImageTokens(first=100, num_codes=10, rows=2, columns=3)
CODES = (0, 1, 2, 9, 8, 7)
WHOLE = [110, 114, 117, 100, 101, 102, 112, 109, 108, 107, 112, 111]
"""begin, height 2, width 3, three codes, row, three codes, row, end."""


def test_ids_are_consecutive_and_distinct() -> None:
    marks = [TOKENS.begin, TOKENS.end, TOKENS.row]
    marks += [TOKENS.height(rows) for rows in (1, 2)] + [TOKENS.width(columns) for columns in (1, 2, 3)]
    assert [100 + code for code in range(10)] + marks == list(range(100, 100 + TOKENS.size))
    assert TOKENS.num_marks == len(marks)
    assert TOKENS.hole == 100 + TOKENS.size
    assert [TOKENS.is_image(one) for one in (99, 100, 117, TOKENS.hole)] == [False, True, True, False]


def test_a_picture_has_marks_of_its_size_and_rows() -> None:
    assert TOKENS.picture(CODES) == WHOLE
    assert len(WHOLE) == TOKENS.most == TOKENS.length(2, 3)
    holes = TOKENS.picture()
    assert [one for one in holes if one != TOKENS.hole] == [one for one in WHOLE if one >= 110]
    assert holes.count(TOKENS.hole) == 6


def test_texts_and_pictures_are_found_again() -> None:
    small = [110, 113, 115, 105, 112, 111]  # one code
    found = list(TOKENS.pieces([5, 6, *WHOLE, *small, 7]))
    assert found == [
        Text((5, 6)),
        Picture(((0, 1, 2), (9, 8, 7))),
        Picture(((5,),)),
        Text((7,)),
    ]
    assert list(TOKENS.pieces([])) == []


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            WHOLE[:-1],
            "2 rows of 3 codes and an end mark need 12 tokens, but the answer ends after 11; it was",
        ),
        (WHOLE[:5], "need 12 tokens, but the answer ends after 5"),
        (WHOLE[:2], r"it begins with \[110, 114\] instead of a begin mark \(110\), a height \(113 to 114\)"),
        (
            [WHOLE[0], WHOLE[2], WHOLE[1], *WHOLE[3:]],
            r"\[110, 117, 114\] instead of .* a width \(115 to 117\)",
        ),
        ([*WHOLE[:4], 112, *WHOLE[5:]], "token 6 is 112, but 2 rows of 3 codes .* one of 100 to 109 there"),
        ([*WHOLE[:6], 100, *WHOLE[7:]], "token 8 is 100, but 2 rows of 3 codes .* one of 112 to 112 there"),
        ([*WHOLE[:4], 5, *WHOLE[5:]], "token 6 is 5, but 2 rows of 3 codes"),
        ([*WHOLE[:-1], 112], "token 13 is 112, but 2 rows of 3 codes .* one of 111 to 111 there"),
        ([103], "token 2 of the answer is malformed: it begins with .103. instead of a begin mark"),
    ],
)
def test_malformed_pictures_are_refused(ids: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(TOKENS.pieces([1, 2, *ids]))
