"""Which rows are wanted, and how many may be bad."""

from __future__ import annotations

from typing import Any

import pytest

from sightweave.data.reading.rules import Rules, of_quality, too_many_bad
from sightweave.data.tasks import captioning, translation


def sentence(source: str, target: str) -> translation.Record:
    return translation.Record(
        id="a", images=(), source="one", targets=("eins",), source_language=source, target_language=target
    )


def test_languages_are_a_pair_or_both_ends() -> None:
    assert Rules(languages=("en-de",)).is_wanted(sentence("en", "de"))
    assert not Rules(languages=("en-de",)).is_wanted(sentence("de", "en"))
    assert Rules(languages=("en", "de")).is_wanted(sentence("de", "en"))
    assert not Rules(languages=("en", "fr")).is_wanted(sentence("en", "de"))


def test_a_record_without_a_language_stays_and_one_of_another_does_not() -> None:
    plain = captioning.Record(id="a", images=(), captions=("a cat",))
    assert Rules(languages=("de",)).is_wanted(plain)
    assert not Rules(languages=("de",)).is_wanted(
        captioning.Record(id="a", images=(), captions=("x",), tags={"language": "fr"})
    )
    assert not Rules(tasks=("vqa",)).is_wanted(plain)


@pytest.mark.parametrize(
    ("bad", "rows", "is_too_many"),
    [(10, 30, False), (11, 30, True), (1, 2, False), (2, 3, True), (10, 1000, False), (11, 1000, True)],
)
def test_few_bad_rows_are_borne_and_more_are_not(bad: int, rows: int, is_too_many: bool) -> None:
    assert bool(too_many_bad(bad, rows, 0.01)) == is_too_many


def turns(*texts: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def test_only_pairs_of_turns_with_good_ratings_stay() -> None:
    row = {"turns": turns("a", "b", "c", "d"), "quality": {"rating": [5, 2]}}
    wanted, rated = of_quality(row, {"rating": 4})
    assert wanted is not None
    assert [turn["content"] for turn in wanted["turns"]] == [["a"], ["b"]]
    assert rated == ["rating"]
    assert of_quality(row, {"rating": 6}) == (None, ["rating"])


def test_a_row_without_the_rating_is_not_good_enough() -> None:
    assert of_quality({"rating": 3}, {"other": 1}) == (None, [])
    assert of_quality({"rating": 3}, {"rating": 3}) == ({"rating": 3}, ["rating"])


def test_the_shares_held_out_leave_half_of_what_testing_leaves_at_least() -> None:
    assert Rules(held_out=0.2).shares() == {"test": 0.2, "validation": 0.1}
    assert Rules(held_out=0.9).shares()["validation"] == pytest.approx(0.05)
    assert Rules(validation=0.3).shares() == {"test": 0.1, "validation": 0.3}
