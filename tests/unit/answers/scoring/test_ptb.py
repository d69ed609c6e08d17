"""PTB tokens: what is split, what stays, what is dropped. The comparison with CoreNLP is in tests/parity."""

from __future__ import annotations

import pytest

from sightweave.answers.scoring import ptb


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A man isn't riding (two) bikes.", "a man is n't riding -lrb- two -rrb- bikes"),
        ("The dog\u2019s ball, red; 'big': \"x\" - y!", "the dog 's ball red big x y"),
        ("He cannot, and they're gonna", "he can not and they 're gon na"),
        ("CAN'T", "ca n't"),
        ("a black-and-white t-shirt", "a black-and-white t-shirt"),
        ("5:30 p.m. in the U.S. on Main St.", "5:30 p.m. in the u.s. on main st."),
        ("No. 5 and no. dog", "no. 5 and no dog"),
        ("plan B. The end", "plan b the end"),
        ("1,000.50 $5 50%", "1,000.50 $ 5 50 %"),
        ("3 1/2 cups", "3\u00a01/2 cups"),
        ("site.org and the end.The next", "site.org and the end.the next"),
        ("wait... what?! no\u2026 a -- b \u2014 c", "wait what ?! no a b c"),
        ("caf\u00e9 \u65e5\u672c \U0001f600 x", "caf\u00e9 \u65e5\u672c x"),
        ("<b>a</b> &amp; b", "<b> a </b> & b"),
        ("a\tb\r\n\u2028 c", "a b c"),
        ("two things;dogs", "two things dogs"),
        ("two things:dogs", "two things dogs"),
        ("x=page", "x = page"),
        ("a dog ;D", "a dog ;d"),
        ("a dog :-)", "a dog :--rrb-"),
        ("soft\u00adhyphen", "softhyphen"),
        ("black-isn't", "black-isn t"),
        ("Hawai'i", "hawai'i"),
        ("a\u2012b \u300ca\u300d", "a b a"),
        ("", ""),
        (" . !", ""),
    ],
)
def test_tokens_of_captions(text: str, expected: str) -> None:
    assert ptb.tokenise(text) == expected


def test_all_tokens_hold_the_punctuation_too() -> None:
    assert ptb.tokens("Hi, you.") == ["hi", ",", "you", "."]


def test_very_long_texts_come_out_whole() -> None:
    assert ptb.tokenise("a b. " * 3000).split() == ["a", "b."] * 3000
    assert ptb.tokenise("(" * 2000).split() == ["-lrb-"] * 2000
    assert ptb.tokenise("x" * 100_000) == "x" * 100_000
    assert len(ptb.tokens("a," * 5000)) == 10_000
