"""Exact match: what is equal, what is counted, and sums that can be added."""

import numpy as np
import pytest

from sightweave.answers.metrics import exact_match
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="x", task="vqa", parts=(), references=references)


@pytest.mark.parametrize(
    ("answer", "references", "right"),
    [
        ("red", ("red",), 1),
        ("  Red \n", ("red",), 1),
        ("two  dogs", ("a dog", "Two dogs"), 1),
        ("reddish", ("red",), 0),
        ("red.", ("red",), 1),  # an ending counts for nothing on either side
        ("red", ("Red.",), 1),
        ("red !", ("red",), 1),
        ("\u7ea2\u8272\u3002", ("\u7ea2\u8272",), 1),
        ('"Stop!"', ("stop",), 1),
        ("\u201cstop\u201d.", ("stop",), 1),
        ("**red**", ("red",), 1),
        ("9 a.m.", ("9 a.m.",), 1),
        ("9 a.m", ("9 a.m.",), 1),
        ("U.S.", ("U.S.",), 1),
        ("...", ("...",), 1),
        ("...", ("!",), 0),
        ("?", ("?",), 1),
        ("", (".",), 0),
        ("a red", ("red",), 0),
        ("3.5", ("35",), 0),
        ("-5", ("5",), 0),
        ("''", ('"',), 0),
        ("cafe\u0301", ("caf\u00e9",), 1),
        ("STRASSE", ("stra\u00dfe",), 1),
        (None, ("red",), 0),
        (None, ("None",), 0),
        ("", ("red",), 0),
    ],
)
def test_an_answer_is_right_if_it_equals_any_reference(answer, references, right):
    rows = exact_match.Config().build().rows([answer], [sample(*references)])
    assert rows.tolist() == [[right, 1]]


def test_case_counts_if_asked():
    metric = exact_match.Config(ignore_case=False).build()
    assert metric.rows(["Red"], [sample("red")])[0, 0] == 0
    assert metric.rows(["red "], [sample("red")])[0, 0] == 1


def test_total_is_the_share_and_takes_stacks_of_sums():
    metric = exact_match.ExactMatch()
    rows = metric.rows(["a", "b", None, "d"], [sample("a"), sample("b"), sample("c"), sample("x")])
    assert metric.total(rows.sum(0)) == 0.5
    assert metric.total(np.stack([rows[:2].sum(0), rows[2:].sum(0)])).tolist() == [1.0, 0.0]
    assert np.isnan(metric.total(np.zeros(2)))
    assert metric.rows([], []).shape == (0, 2)


def test_a_missing_prediction_is_refused_with_both_numbers():
    with pytest.raises(DataError, match=r"1 prediction\(s\) for 2 sample\(s\)"):
        exact_match.ExactMatch().rows(["a"], [sample("a"), sample("b")])
