"""Counts of n-grams, and inputs that caption metrics refuse."""

from __future__ import annotations

import pytest

from sightweave.answers.scoring import ngrams
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(name: str, *references: str) -> Sample:
    return Sample(id=name, task="captioning", parts=(), references=references)


def test_ngrams_are_counted_by_length() -> None:
    ones, twos, threes = ngrams.count(["a", "b", "a", "b"], 3)
    assert ones == {("a",): 2, ("b",): 2}
    assert twos == {("a", "b"): 2, ("b", "a"): 1}
    assert threes == {("a", "b", "a"): 1, ("b", "a", "b"): 1}
    assert ngrams.count([], 2) == [{}, {}]


def test_answers_and_references_become_tokens() -> None:
    found = ngrams.tokenised("m", ["A dog.", None], [sample("x", "The dog!", "Dogs"), sample("y", "b")])
    assert found == [("a dog", ["the dog", "dogs"]), ("", ["b"])]


def test_missing_answers_and_missing_references_are_refused() -> None:
    with pytest.raises(DataError, match=r"m: 1 prediction\(s\) for 2 sample\(s\)"):
        ngrams.check("m", ["a"], [sample("x", "a"), sample("y", "b")])
    with pytest.raises(DataError, match=r"m: 1 of 2 samples have no reference, the first being 'y'"):
        ngrams.check("m", ["a", "b"], [sample("x", "a"), sample("y")])
