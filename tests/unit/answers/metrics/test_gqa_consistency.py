"""GQA's consistency: means over the entailed questions of right answers."""

import numpy as np
import pytest

from sightweave.answers.metrics import gqa_consistency
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(name: str, entailed: str = "", **tags: str) -> Sample:
    return Sample(id=name, task="vqa", parts=(), references=("yes",), tags={"entailed": entailed, **tags})


def test_by_hand():
    metric = gqa_consistency.Config().build()
    samples = [sample("1", "1 2 3"), sample("2", "1 4"), sample("3", "3"), sample("4", "1"), sample("5")]
    rows = metric.rows(["yes", "Yes ", "no", None, "yes"], samples)
    # 1: right; of 2 (right) and 3 (wrong), half. 2: right; of 1 (right) and 4 (wrong), half. 3 entails but
    # itself. 4 is wrong. 5 entails nothing.
    assert rows.tolist() == [[0.5, 1], [0.5, 1], [0, 0], [0, 0], [0, 0]]
    assert metric.total(rows.sum(0)) == 0.5
    assert np.isnan(metric.total(rows)[2:]).all()


def test_a_question_outside_the_balanced_ones_is_entailed_but_starts_no_mean():
    samples = [sample("1", "2", balanced="true"), sample("2", "1 3", balanced="false"), sample("3")]
    rows = gqa_consistency.GqaConsistency().rows(["yes", "yes", "no"], samples)
    assert rows.tolist() == [[1, 1], [0, 0], [0, 0]]


def test_an_absent_entailed_question_is_refused_or_left_out():
    samples = [sample("1", "2 8"), sample("2", "9")]
    with pytest.raises(
        DataError, match=r"2 entailed question\(s\) .*first being '8', entailed by '1'.*balanced: false"
    ):
        gqa_consistency.GqaConsistency().rows(["yes", "yes"], samples)
    rows = gqa_consistency.Config(complete=False).build().rows(["yes", "yes"], samples)
    assert rows.tolist() == [[1, 1], [0, 0]]


def test_questions_that_cannot_be_told_apart_or_entail_nothing_are_refused():
    metric = gqa_consistency.GqaConsistency()
    with pytest.raises(DataError, match="2 samples have only 1 different ids"):
        metric.rows(["yes", "yes"], [sample("1", "2"), sample("1", "2")])
    with pytest.raises(DataError, match="none of 2 samples has a tag 'entailed'"):
        metric.rows(["yes", "yes"], [sample("1", "1"), sample("2")])
    assert metric.rows([], []).shape == (0, 2)
