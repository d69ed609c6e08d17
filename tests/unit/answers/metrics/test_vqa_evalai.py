"""VQA accuracy, evalai: everything is made comparable always."""

import numpy as np
import pytest

from sightweave.answers.metrics import vqa_evalai
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(people: list[str]) -> Sample:
    return Sample(id="x", task="vqa", parts=(), references=tuple(people))


@pytest.mark.parametrize(
    ("answer", "people", "score"),
    [
        ("Yes.", ["yes"] * 10, 1.0),
        ("1,000", ["1000"] * 10, 1.0),
        ("a dog?", ["Dog"] * 10, 1.0),
        ("man\x27s", ["man \x27s"] * 10, 1.0),
        ("thats", ["that\x27s"] * 10, 0.0),  # only the whole one is parted
        ("two", ["2"] * 3 + ["blue"] * 7, 0.9),
    ],
)
def test_worked_examples(answer, people, score):
    rows = vqa_evalai.Config().build().rows([answer], [sample(people)])
    np.testing.assert_allclose(rows, [[score, 1]], atol=1e-12)


def test_an_answer_that_could_not_be_parsed_scores_0_even_against_nothing():
    assert vqa_evalai.VqaEvalai().rows([None], [sample(["the"] * 6 + ["red"] * 4)]).tolist() == [[0, 1]]


def test_total_is_the_mean_and_takes_stacks_of_sums():
    metric = vqa_evalai.VqaEvalai()
    rows = metric.rows(
        ["red", "blue", "red"],
        [sample(["red"] * 10), sample(["red"] * 10), sample(["blue"] * 3 + ["red"] * 7)],
    )
    assert metric.total(rows.sum(0)) == pytest.approx(2 / 3)
    assert metric.total(np.stack([rows[:1].sum(0), rows[1:].sum(0)])).tolist() == [1.0, 0.5]
    assert np.isnan(metric.total(np.zeros(2)))
    assert metric.rows([], []).shape == (0, 2)
    assert not metric.is_proportion


def test_a_missing_prediction_is_refused_with_both_numbers():
    with pytest.raises(DataError, match=r"vqa_evalai: 0 prediction\(s\) for 1 sample\(s\)"):
        vqa_evalai.VqaEvalai().rows([], [sample(["red"] * 10)])
