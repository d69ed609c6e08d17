"""ANLS: worked examples, the threshold, and the distance against the plain table."""

import random

import numpy as np
import pytest

from sightweave.answers.metrics import anls
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="x", task="vqa", parts=(), references=references)


def table(first: str, second: str) -> int:
    """Levenshtein's distance by its definition."""
    above = list(range(len(second) + 1))
    for row, one in enumerate(first, start=1):
        here = [row]
        for column, other in enumerate(second, start=1):
            here.append(min(above[column] + 1, here[-1] + 1, above[column - 1] + (one != other)))
        above = here
    return above[-1]


@pytest.mark.parametrize(
    ("answer", "references", "score"),
    [
        ("coca cola", ("Coca Cola",), 1.0),
        ("stop", ("shop",), 0.75),
        ("abcd", ("abxy",), 0.5),  # just the threshold counts
        ("abcd", ("axyz",), 0.0),
        ("stip", ("nothing at all", "stop"), 0.75),  # the nearest reference
        ("a  b", ("a b",), 1.0),
        ("", ("",), 1.0),
        ("", ("stop",), 0.0),
        (None, ("",), 0.0),
    ],
)
def test_worked_examples(answer, references, score):
    assert anls.Config().build().rows([answer], [sample(*references)]).tolist() == [[score, 1]]


def test_the_threshold_can_be_set_and_must_be_a_share():
    assert anls.Config(threshold=0.8).build().rows(["stop"], [sample("shop")])[0, 0] == 0
    assert anls.Config(threshold=0).build().rows(["axyz"], [sample("abcd")])[0, 0] == 0.25
    with pytest.raises(ValueError, match=r"threshold must be from 0 to 1 \(got 50\)"):
        anls.Anls(threshold=50)


def test_the_distance_is_that_of_the_plain_table():
    rng = random.Random(0)
    for length in (0, 1, 2, 5, 20, 63, 64, 65, 130):
        for _ in range(20):
            first = "".join(rng.choices("abc\u00e9 ", k=length))
            second = "".join(rng.choices("abc\u00e9 ", k=rng.randint(0, length + 3)))
            assert anls.distance(first, second) == anls.distance(second, first) == table(first, second)


def test_total_is_the_mean_and_takes_stacks_of_sums():
    metric = anls.Anls()
    rows = metric.rows(["stop", "stop"], [sample("stop"), sample("shop")])
    assert metric.total(rows.sum(0)) == 0.875
    assert metric.total(rows).tolist() == [1.0, 0.75]
    assert np.isnan(metric.total(np.zeros(2)))
    with pytest.raises(DataError, match="anls: 1 of 1 samples have no reference"):
        metric.rows(["a"], [sample()])
