"""What metrics share: faults of the input, division, and folded texts."""

import numpy as np
import pytest

from sightweave.answers.scoring import ratios
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="x", task="vqa", parts=(), references=references)


def test_a_wrong_number_of_predictions_and_a_missing_reference_are_refused_by_name():
    with pytest.raises(DataError, match=r"pope: 1 prediction\(s\) for 2 sample\(s\)"):
        ratios.check("pope", ["a"], [sample("a"), sample("b")])
    with pytest.raises(
        DataError, match=r"pope: 1 of 2 samples have no reference answer, the first being 'x'"
    ):
        ratios.check("pope", ["a", "b"], [sample("a"), sample()])
    ratios.check("pope", [], [])


def test_nothing_over_nothing_is_not_a_number_and_stacks_are_divided_at_once():
    found = ratios.mean(np.array([[[3.0, 4.0], [0.0, 2.0]], [[0.0, 0.0], [5.0, 5.0]]]))
    assert found[0].tolist() == [0.75, 0.0]
    assert np.isnan(found[1, 0])
    assert found[1, 1] == 1.0
    assert ratios.with_ones([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("answer", "right"), [("True", 1), (" true\n", 1), ("cafe\u0301", 1), ("truer", 0), ("", 0), (None, 0)]
)
def test_closed_answers_are_compared_without_case_and_white_space(answer, right):
    assert ratios.is_right(answer, sample("True", "Caf\u00e9")) == right
