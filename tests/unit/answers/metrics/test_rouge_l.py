"""ROUGE-L: the longest common subsequence, and the score worked by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sightweave.answers.metrics import rouge_l
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="x", task="captioning", parts=(), references=references)


def by_table(first: str, second: str) -> int:
    """The usual recursion, as a table."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_the_common_length_is_that_of_the_usual_table() -> None:
    rng = random.Random(0)
    for _ in range(300):
        first, second = ("".join(rng.choices("abc", k=rng.randrange(90))) for _ in range(2))
        assert rouge_l.common_length(first, second) == by_table(first, second)


def test_the_best_precision_and_the_best_recall_may_come_from_two_references() -> None:
    # With "a red dog runs": 2 of 3 and 2 of 4 words in common; with "dog": 1 of 3 and 1 of 1.
    (row,) = rouge_l.Config().build().rows(["a dog sits"], [sample("a red dog runs", "dog")])
    precision, recall = 2 / 3, 1.0
    assert row.tolist() == [pytest.approx(2.44 * precision * recall / (recall + 1.44 * precision)), 1]


def test_equal_other_empty_and_missing_answers() -> None:
    metric = rouge_l.RougeL()
    rows = metric.rows(["A dog.", "one cat", "", None, ".", None], [sample("a dog")] * 4 + [sample("!")] * 2)
    assert rows[:, 0].tolist() == [1, 0, 0, 0, 1, 0]
    assert metric.total(rows.sum(0)) == pytest.approx(2 / 6)
    assert np.isnan(metric.total(np.zeros(2)))
    assert metric.total(rows).shape == (6,)
    assert metric.rows([], []).shape == (0, 2)


def test_a_sample_without_references_is_refused() -> None:
    with pytest.raises(DataError, match="rouge_l: 1 of 1 samples have no reference"):
        rouge_l.RougeL().rows(["a"], [sample()])
