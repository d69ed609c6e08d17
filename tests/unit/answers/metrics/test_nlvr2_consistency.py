"""NLVR2's consistency: a set is right as a whole or not at all, and lies on its last row."""

import numpy as np
import pytest

from sightweave.answers.metrics import nlvr2_consistency
from sightweave.core.errors import DataError
from sightweave.core.types import Sample
from sightweave.programs.evaluation import statistics


def sample(of: str, label: str = "True", group: str = "") -> Sample:
    return Sample(
        id="dev-1-0-0", task="vqa", parts=(), references=(label,), tags={"consistency": of}, group=group
    )


def test_what_a_set_adds_lies_on_its_last_row():
    metric = nlvr2_consistency.Config().build()
    samples = [sample("a"), sample("b", "False"), sample("a"), sample("c"), sample("b", "False"), sample("d")]
    rows = metric.rows([" true", "False", "True", "False", "True", None], samples)
    assert rows.tolist() == [[0, 0], [0, 0], [1, 1], [0, 1], [0, 1], [0, 1]]
    assert metric.total(rows.sum(0)) == 0.25
    assert np.isnan(metric.total(rows)[:2]).all()


def test_the_first_answer_of_a_set_counts_as_much_as_its_last():
    metric = nlvr2_consistency.Nlvr2Consistency()
    samples = [sample("a"), sample("a")]
    assert metric.rows(["False", "True"], samples).sum(0).tolist() == [0, 1]
    assert metric.rows(["True", "False"], samples).sum(0).tolist() == [0, 1]


def test_rows_can_be_resampled_by_picture():
    metric = nlvr2_consistency.Nlvr2Consistency()
    samples = [sample(f"s{number // 2}", group=f"p{number // 2}") for number in range(80)]
    answers = ["True" if number % 8 < 6 else "False" for number in range(80)]
    found = statistics.score(metric, metric.rows(answers, samples), [one.group for one in samples])
    assert found.value == 0.75
    # 40 sets of which 30 are right: 0.75 +- 1.96 * sqrt(0.75 * 0.25 / 40)
    assert (found.low, found.high) == pytest.approx((0.616, 0.884), abs=0.04)


def test_a_sample_without_the_tag_is_refused():
    plain = Sample(id="q9", task="vqa", parts=(), references=("True",), tags={"type": "question"})
    with pytest.raises(
        DataError, match=r"1 of 2 samples have no tag 'consistency', .*'q9' \(its tags: type\)"
    ):
        nlvr2_consistency.Nlvr2Consistency().rows(["True", "True"], [sample("a"), plain])
    assert nlvr2_consistency.Nlvr2Consistency().rows([], []).shape == (0, 2)
