"""BLEU: examples worked by hand, and sums that can be added."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sightweave.answers.metrics import bleu
from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="x", task="captioning", parts=(), references=references)


def test_counts_are_clipped_by_the_reference_with_most() -> None:
    """The example of the paper: seven times ``the`` matches twice."""
    metric = bleu.Config(n=1).build()
    references = ("The cat is on the mat.", "There is a cat on the mat.")
    rows = metric.rows(["the the the the the the the"], [sample(*references)])
    assert rows.tolist() == [[2, 7, 7, 7, 1]]
    assert metric.total(rows[0]) == pytest.approx(2 / 7)


def test_a_short_answer_pays_for_its_length_and_the_shorter_of_two_equally_close_references_counts() -> None:
    metric = bleu.Bleu(n=2)
    (row,) = metric.rows(["a red dog"], [sample("a red dog runs fast", "a dog")])
    assert row.tolist() == [3, 2, 3, 2, 3, 2, 1]
    (row,) = metric.rows(["a red dog"], [sample("a red dog runs fast")])
    assert metric.total(row) == pytest.approx(math.exp(1 - 5 / 3))


def test_corpus_scores_come_from_sums_and_take_stacks_of_them() -> None:
    metric = bleu.Bleu()
    rows = metric.rows(["a man on a red bike", "a dog"], [sample("a man on a red bike"), sample("one cat")])
    assert rows.shape == (2, 11)
    precisions = [6 / 8, 5 / 6, 4 / 4, 3 / 3]
    assert metric.total(rows.sum(0)) == pytest.approx(math.prod(precisions) ** 0.25)
    stacked = metric.total(np.stack([rows[:1].sum(0), rows[1:].sum(0), np.zeros(11)]))
    assert stacked[0] == pytest.approx(1)
    assert stacked[1] < 1e-3
    assert np.isnan(stacked[2])


def test_empty_answers_score_nothing_but_count() -> None:
    metric = bleu.Bleu(n=1)
    rows = metric.rows([None, "", "a dog"], [sample("a dog")] * 3)
    assert rows.tolist() == [[0, 0, 0, 2, 1], [0, 0, 0, 2, 1], [2, 2, 2, 2, 1]]
    assert metric.total(rows[0]) == 0
    assert metric.total(rows.sum(0)) == pytest.approx(math.exp(1 - 3))
    assert metric.rows([], []).shape == (0, 5)


def test_wrong_settings_and_inputs_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"n must be from 1 to 4 \(got 5\)"):
        bleu.Config(n=5).build()
    with pytest.raises(DataError, match="bleu: 1 of 1 samples have no reference"):
        bleu.Bleu().rows(["a"], [sample()])
