"""PTB tokens against Stanford CoreNLP 3.4.1 and the wrapper of pycocoevalcap, on captions and on stranger texts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from sightweave.answers.metrics import _ptb

GOLDEN = json.loads(gzip.decompress(Path(__file__).with_name("golden").joinpath("ptb.json.gz").read_bytes()))


def differing(name: str) -> list[tuple[str, str, str]]:
    texts, expected = GOLDEN[name]
    assert len(texts) == len(expected)
    found = [(text, _ptb.tokenise(text), right) for text, right in zip(texts, expected, strict=True)]
    return [row for row in found if row[1] != row[2]]


def test_captions_have_the_tokens_of_the_reference() -> None:
    assert len(GOLDEN["captions"][0]) == 5000
    assert differing("captions") == []


def test_probes_have_the_tokens_of_the_reference_but_for_two() -> None:
    """Written by hand: abbreviations, contractions, quotes, numbers, brackets, links, smileys, other scripts."""
    assert len(GOLDEN["probes"][0]) == 361
    assert [text for text, _, _ in differing("probes")] == ["dog.-x", "\u201c\u201d"]


def test_how_often_random_characters_differ_is_known() -> None:
    """Heaps of symbols without words are where the two part."""
    assert len(GOLDEN["noise"][0]) == 600
    assert len(differing("noise")) == 80
