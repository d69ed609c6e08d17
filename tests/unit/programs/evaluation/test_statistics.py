"""Intervals against known values, known coverage and slow, obvious versions of themselves."""

import numpy as np
import pytest

from sightweave.answers.metrics.exact_match import ExactMatch
from sightweave.programs.evaluation import statistics
from sightweave.programs.evaluation.statistics import Estimate

TOTAL = ExactMatch().total


def rows_of(right) -> np.ndarray:
    right = np.asarray(right, dtype=float)
    return np.stack([right, np.ones_like(right)], axis=1)


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [  # Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_gives_the_published_intervals(correct, count, low, high):
    found = statistics.wilson(correct, count)
    assert found.value == correct / count
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(("correct", "count"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_proportion(correct, count):
    with pytest.raises(ValueError, match="needs 0 <= correct <= count"):
        statistics.wilson(correct, count)


def test_resampled_sums_are_those_of_whole_groups():
    rows = np.array([[1.0], [10.0], [100.0], [1000.0]])
    sums = statistics.resampled_sums(rows, ["a", "b", "a", "b"], resamples=400, seed=1)
    # Two draws out of two groups: both the first, one of each, or both the second.
    assert sorted(set(sums[:, 0].tolist())) == [202.0, 1111.0, 2020.0]
    assert abs((sums == 1111.0).mean() - 0.5) < 0.1


def test_chunks_keep_shape_and_mean(monkeypatch):
    rows = rows_of([1, 0, 1, 1, 0])
    groups = ["a", "b", "c", "d", "e"]
    monkeypatch.setattr(statistics, "_CELLS", 35)
    sums = statistics.resampled_sums(rows, groups, resamples=2000, seed=0)
    assert sums.shape == (2000, 2)
    assert (sums[:, 1] == 5).all()
    assert abs(TOTAL(sums).mean() - 0.6) < 0.02


def test_the_bootstrap_of_single_rows_agrees_with_the_binomial_spread():
    right = np.arange(400) % 4 == 0
    found = statistics.bootstrap(rows_of(right), [str(n) for n in range(400)], TOTAL)
    spread = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert found.value == 0.25
    assert found.low == pytest.approx(0.25 - spread, abs=0.006)
    assert found.high == pytest.approx(0.25 + spread, abs=0.006)


def test_questions_that_share_a_picture_widen_the_interval():
    right = np.repeat(np.arange(50) % 2, 8)  # eight questions on a picture, all right or all wrong
    clustered = statistics.bootstrap(rows_of(right), [str(n // 8) for n in range(400)], TOTAL)
    single = statistics.bootstrap(rows_of(right), [str(n) for n in range(400)], TOTAL)
    ratio = (clustered.high - clustered.low) / (single.high - single.low)
    assert ratio == pytest.approx(np.sqrt(8), rel=0.1)


def test_a_paired_difference_is_the_mean_over_strata_and_repeats():
    first = rows_of([1, 1, 1, 0, 1, 1])
    second = rows_of([0, 0, 1, 0, 1, 0])
    strata = ["small", "small", "big", "big", "big", "big"]
    groups = list("abcdef")
    found = statistics.paired_difference(first, second, groups, TOTAL, strata=strata)
    assert found.value == pytest.approx((1.0 + 0.25) / 2)
    assert found.low < found.value < found.high
    assert found == statistics.paired_difference(first, second, groups, TOTAL, strata=strata)
    assert statistics.paired_difference(first, second, groups, TOTAL).value == pytest.approx(0.5)


def test_equal_answers_have_no_difference_at_all():
    rows = rows_of([1, 0, 1, 0])
    assert statistics.paired_difference(rows, rows, list("abcd"), TOTAL) == Estimate(0.0, 0.0, 0.0)


def test_one_picture_tells_nothing_about_the_spread():
    rows = rows_of([1, 0])
    assert statistics.paired_difference(rows, rows, ["a", "a"], TOTAL) == Estimate(0.0, -1.0, 1.0)
    assert statistics.bootstrap(rows, ["a", "a"], TOTAL) == Estimate(0.5, 0.0, 1.0)


def test_intervals_of_a_difference_hold_the_true_value_about_95_times_in_100():
    rng = np.random.default_rng(5)
    held = 0
    for trial in range(200):
        ease = rng.random(60)[:, None] < 0.5  # pictures are easy or hard for all of their questions
        first = rng.random((60, 4)) < np.where(ease, 0.9, 0.5)
        second = rng.random((60, 4)) < np.where(ease, 0.7, 0.3)
        groups = [str(n) for n in range(60) for _ in range(4)]
        found = statistics.paired_difference(
            rows_of(first.ravel()), rows_of(second.ravel()), groups, TOTAL, resamples=400, seed=trial
        )
        held += found.low <= 0.2 <= found.high
    assert 178 <= held <= 199  # 190 expected, with a standard deviation of 3.1


def test_mean_of_independent_estimates():
    found = statistics.mean([Estimate(0.2, 0.1, 0.4), Estimate(0.6, 0.5, 0.7)])
    assert found.value == pytest.approx(0.4)
    assert found.low == pytest.approx(0.4 - np.hypot(0.1, 0.1) / 2)
    assert found.high == pytest.approx(0.4 + np.hypot(0.2, 0.1) / 2)
    one = statistics.mean([Estimate(0.2, 0.1, 0.4)])
    assert (one.value, one.low, one.high) == pytest.approx((0.2, 0.1, 0.4))
