"""Multiple choice: the option that is named must be right; how answers are read is tested in test__choices.py."""

import numpy as np
import pytest

from sightweave.answers.metrics import multiple_choice
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

COLOURS = ("red", "dark red", "blue", "no colour")


def sample(*references: str, options: tuple[str, ...] = COLOURS) -> Sample:
    return Sample(id="m1", task="vqa", parts=(), references=references, options=options)


def test_the_text_decides_and_a_reference_may_be_a_letter():
    metric = multiple_choice.Config().build()
    rows = metric.rows(
        ["C", "blue", "B", None, "red or blue", "The answer is C"],
        [sample("Blue"), sample("C"), sample("blue"), sample("blue"), sample("blue"), sample("red", "c")],
    )
    assert rows.tolist() == [[1, 1], [1, 1], [0, 1], [0, 1], [0, 1], [1, 1]]
    assert metric.total(rows.sum(0)) == 0.5
    assert np.isnan(metric.total(np.zeros(2)))
    assert metric.is_proportion
    assert metric.rows([], []).shape == (0, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "'m1' has 0 options; the metric needs 1 to 26"),
        (tuple(map(str, range(27))), "'m1' has 27 options"),
        (("x", "y"), r"reference 'red' of sample 'm1' is not one of its options \('x', 'y'\)"),
    ],
)
def test_samples_that_cannot_be_scored_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        multiple_choice.MultipleChoice().rows(["x"], [sample("red", options=options)])
