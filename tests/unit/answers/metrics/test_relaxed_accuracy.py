"""Relaxed accuracy: numbers near enough, everything else as it is."""

import numpy as np
import pytest

from sightweave.answers.metrics import relaxed_accuracy
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="x", task="vqa", parts=(), references=references)


@pytest.mark.parametrize(
    ("answer", "references", "right"),
    [
        ("100", ("100",), 1),
        ("105", ("100",), 1),
        ("95", ("100",), 1),
        ("105.1", ("100",), 0),
        ("-5", ("5",), 0),
        ("-5", ("-5.2",), 1),
        ("5%", ("0.05",), 1),
        ("5", ("5%",), 0),
        ("0", ("0",), 1),
        ("0.0", ("0",), 0),  # no share of 0: as text
        ("0.01", ("0",), 0),
        ("1,000", ("1000",), 0),  # a comma makes it text
        ("Germany", ("germany",), 1),
        ("Germany ", ("germany",), 0),
        ("2012", ("2010", "Yes"), 1),
        ("yes", ("2010", "Yes"), 1),
        ("nan", ("5",), 0),
        (None, ("None",), 0),
    ],
)
def test_worked_examples(answer, references, right):
    assert relaxed_accuracy.Config().build().rows([answer], [sample(*references)]).tolist() == [[right, 1]]


def test_the_tolerance_can_be_set_and_is_no_less_than_0():
    assert relaxed_accuracy.Config(tolerance=0).build().rows(["101"], [sample("100")])[0, 0] == 0
    assert relaxed_accuracy.Config(tolerance=0.5).build().rows(["149"], [sample("100")])[0, 0] == 1
    with pytest.raises(ValueError, match=r"tolerance must be 0 or more \(got -0.05\)"):
        relaxed_accuracy.RelaxedAccuracy(tolerance=-0.05)


def test_total_is_the_share_and_takes_stacks_of_sums():
    metric = relaxed_accuracy.RelaxedAccuracy()
    rows = metric.rows(["1", "2"], [sample("1"), sample("3")])
    assert metric.total(rows.sum(0)) == 0.5
    assert metric.total(rows).tolist() == [1.0, 0.0]
    assert np.isnan(metric.total(np.zeros(2)))
    assert metric.is_proportion
    with pytest.raises(DataError, match="relaxed_accuracy: 1 of 1 samples have no reference"):
        metric.rows(["1"], [sample()])
