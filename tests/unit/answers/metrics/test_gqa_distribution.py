"""GQA's distribution: chi-square by group, from sums that can be drawn again."""

from __future__ import annotations

import numpy as np
import pytest

from sightweave.answers.metrics import gqa_distribution
from sightweave.answers.metrics.gqa_distribution import GqaDistribution
from sightweave.core.errors import DataError
from sightweave.core.types import Sample
from sightweave.programs.evaluation import statistics


def sample(answer: str, group: str = "color", name: str = "x", **tags: str) -> Sample:
    tags = {"group_global": group, **tags} if group else tags
    return Sample(id=name, task="vqa", parts=(), references=(answer,), tags=tags)


SAMPLES = [sample("red"), sample("red"), sample("Red "), sample("blue"), sample("dog", "animal")]


def test_by_hand() -> None:
    metric = gqa_distribution.Config().build()
    assert metric.less_is_better
    rows = metric.rows(["red", "blue", "blue", "green", "cat"], SAMPLES)
    # Colours: red was right 3 times and said once, blue once and twice: 4/3 + 1. Animals: dog once and never: 1.
    assert metric.total(rows.sum(0)) == pytest.approx((4 * (4 / 3 + 1) + 1) / 5 / 100, abs=1e-12)
    assert metric.totals(rows.sum(0))["all_questions"] == metric.total(rows.sum(0))
    right = [one.references[0] for one in SAMPLES]
    assert metric.total(metric.rows(right, SAMPLES).sum(0)) == 0
    # Only how often each is said counts, and an answer of another group is said in its own alone.
    mixed = metric.rows(["blue", "red", "red", "red", "dog"], SAMPLES)
    assert metric.total(mixed.sum(0)) == 0
    assert metric.rows(["dog", None, "red", "red", "red"], SAMPLES).sum() == 5 + 2 + 4 * 2 + 1


def test_a_question_without_a_group_or_outside_the_balanced_ones_adds_nothing() -> None:
    samples = [*SAMPLES, sample("red", ""), sample("red", balanced="false")]
    rows = GqaDistribution().rows(["red"] * 7, samples)
    assert not rows[5:].any()
    np.testing.assert_array_equal(rows[:5], GqaDistribution().rows(["red"] * 5, SAMPLES))


def test_sums_of_a_part_score_as_that_part_alone() -> None:
    rng = np.random.default_rng(0)
    groups = {"color": ["red", "blue", "green"], "animal": ["dog", "cat"], "": ["yes"]}
    names = rng.choice(list(groups), 60)
    samples = [sample(str(rng.choice(groups[name])), str(name)) for name in names]
    answers = [str(rng.choice(groups[name])) for name in names]
    metric = GqaDistribution()
    rows = metric.rows(answers, samples)
    for _ in range(20):
        chosen = rng.choice(60, 25)  # with repeats, as a resample has
        alone = metric.rows([answers[n] for n in chosen], [samples[n] for n in chosen])
        assert metric.total(rows[chosen].sum(0)) == pytest.approx(metric.total(alone.sum(0)), abs=1e-12)
    found = statistics.score(metric, rows, [str(n) for n in range(60)])
    assert 0 <= found.low < found.value < found.high


def test_totals_take_stacks() -> None:
    rows = GqaDistribution().rows(["blue"] * 5, SAMPLES)
    stack = np.stack([rows.sum(0), np.zeros(rows.shape[1])])
    assert np.isnan(GqaDistribution().total(stack)).tolist() == [False, True]
    assert np.isnan(GqaDistribution().total(GqaDistribution().rows([], []).sum(0)))


def test_what_cannot_be_scored_is_refused() -> None:
    metric = GqaDistribution()
    with pytest.raises(DataError, match="none of 2 samples has a tag 'group_global'"):
        metric.rows(["red", "red"], [sample("red", ""), sample("red", balanced="false")])
    double = Sample(id="7", task="vqa", parts=(), references=("a", "b"), tags={"group_global": "x"})
    with pytest.raises(DataError, match=r"1 question\(s\) have several right answers, the first being '7'"):
        metric.rows(["a"], [double])
    many = [sample(str(n)) for n in range(7000)]
    with pytest.raises(
        DataError, match="7000 questions with 7000 right answers by group need 147000000 numbers"
    ):
        metric.rows(["a"] * 7000, many)
