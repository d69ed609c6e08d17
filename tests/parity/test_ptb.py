"""PTB tokens against Stanford CoreNLP 3.4.1 and the wrapper of pycocoevalcap, on captions and on stranger texts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from sightweave.answers.scoring import ptb

GOLDEN = json.loads(gzip.decompress(Path(__file__).with_name("golden").joinpath("ptb.json.gz").read_bytes()))


def differing(name: str) -> list[tuple[str, str, str]]:
    texts, expected = GOLDEN[name]
    assert len(texts) == len(expected)
    found = [(text, ptb.tokenise(text), right) for text, right in zip(texts, expected, strict=True)]
    return [row for row in found if row[1] != row[2]]


def test_captions_have_the_tokens_of_the_reference() -> None:
    assert len(GOLDEN["captions"][0]) == 5000
    assert differing("captions") == []


def test_probes_have_the_tokens_of_the_reference() -> None:
    """Written by hand: abbreviations, contractions, quotes, numbers, brackets, links, smileys, other scripts."""
    assert len(GOLDEN["probes"][0]) == 361
    assert differing("probes") == []


def test_marks_before_words_have_the_tokens_of_the_reference() -> None:
    """A colon, semicolon or equals sign before words in d and p, smileys, hyphens, slashes and apostrophes in words."""
    assert len(GOLDEN["marks"][0]) == 1497
    assert "two things;dogs" in GOLDEN["marks"][0]
    assert differing("marks") == []


def test_every_character_of_the_basic_plane_is_taken_as_the_reference_takes_it() -> None:
    codes = [
        code for code in range(0xA1, 0x10000) if not 0xD800 <= code < 0xE000 and code not in (0x2028, 0x2029)
    ]
    texts = [
        " ".join(f"a{chr(code)}b" for code in codes[start : start + 32]) for start in range(0, len(codes), 32)
    ]
    assert len(texts) == len(GOLDEN["characters"]) == 1979
    assert [ptb.tokenise(text) for text in texts] == GOLDEN["characters"]


def test_heaps_of_random_characters_have_the_tokens_of_the_reference() -> None:
    assert len(GOLDEN["noise"][0]) == 600
    assert differing("noise") == []


def test_how_often_odd_texts_differ_is_known() -> None:
    """Drawn after the port was finished: heaps of words and marks, and characters of a dozen scripts."""
    assert (len(GOLDEN["odd"][0]), len(differing("odd"))) == (2500, 6)
    assert (len(GOLDEN["scripts"][0]), len(differing("scripts"))) == (1500, 5)
