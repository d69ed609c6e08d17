"""Intervals and tests against known values, SciPy, known error rates and slow, obvious versions of themselves."""

import os
import subprocess
import sys
import tempfile
from itertools import combinations

import numpy as np
import pytest
import scipy.stats

from sightweave.answers.metrics.exact_match import ExactMatch
from sightweave.programs.evaluation import statistics
from sightweave.programs.evaluation.statistics import Estimate

TOTAL = ExactMatch().total


class Graded:
    """A mean of scores from 0 to 1."""

    is_proportion = False

    def total(self, sums):
        return TOTAL(sums)


class Nats(Graded):
    unit = "nats"


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
    whole = statistics.resampled_sums(rows, groups, resamples=2000, seed=0)
    monkeypatch.setattr(statistics, "_CELLS", 35)
    sums = statistics.resampled_sums(rows, groups, resamples=2000, seed=0)
    assert sums.shape == (2000, 2)
    assert (sums == whole).all()
    assert (sums[:, 1] == 5).all()
    assert abs(TOTAL(sums).mean() - 0.6) < 0.02


@pytest.mark.parametrize("whole", [True, False])
def test_draws_are_the_same_for_any_number_of_threads_and_order_of_columns(whole):
    rng = np.random.default_rng(4)
    rows = rng.integers(0, 30, (900, 7)).astype(float) if whole else rng.lognormal(0, 9, (900, 7))
    group = rng.permutation(np.arange(900) // 3)
    found = statistics.resampled_sums(rows, group, resamples=300, seed=3)
    apart = [statistics.resampled_sums(one[:, None], group, resamples=300, seed=3)[:, 0] for one in rows.T]
    assert (found == np.stack(apart, axis=1)).all()
    code = (
        "import sys, numpy; from sightweave.programs.evaluation import statistics;"
        "rows, group = numpy.load(sys.argv[1]).values();"
        "print(statistics.resampled_sums(rows, group, resamples=300, seed=3).tobytes().hex())"
    )
    for threads in ("1", "2"):
        with tempfile.NamedTemporaryFile(suffix=".npz") as file:
            np.savez(file, rows, group)
            file.flush()
            names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
            environment = {**os.environ, **dict.fromkeys(names, threads)}
            told = subprocess.run(
                [sys.executable, "-c", code, file.name],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
        assert told.stdout.strip() == found.tobytes().hex()
    assert found.mean(0) == pytest.approx(rows.sum(0), rel=0.2)


def test_a_share_of_single_questions_has_wilsons_interval():
    right = np.arange(400) % 4 == 0
    found = statistics.share(right, np.arange(400))
    wilson = statistics.wilson(100, 400, quantile=scipy.stats.t.ppf(0.975, 399))
    assert (found.value, found.low, found.high) == pytest.approx((0.25, wilson.low, wilson.high), abs=1e-12)
    assert found == statistics.score(ExactMatch(), rows_of(right), np.arange(400))


def test_questions_that_share_a_picture_are_no_more_than_the_picture():
    right = np.repeat(np.arange(40) % 2, 10)  # ten questions on a picture, all right or all wrong
    found = statistics.share(right, [f"p{n // 10}" for n in range(400)])
    picture = statistics.share(right[::10], [f"p{n}" for n in range(40)])
    assert (found.low, found.high) == pytest.approx((0.35, 0.65), abs=0.006)
    assert (found.low, found.high) == pytest.approx((picture.low, picture.high), abs=0.01)
    graded = statistics.score(Graded(), rows_of(right), [f"p{n // 10}" for n in range(400)])
    assert (graded.low, graded.high) == pytest.approx((found.low, found.high), abs=0.002)


def test_a_perfect_model_is_as_sure_as_there_are_pictures():
    alone = statistics.share(np.ones(500), np.arange(500))
    assert (alone.value, round(alone.low, 4), alone.high) == (1.0, 0.9924, 1.0)
    five = statistics.share(np.ones(2500), np.arange(2500) // 5, np.arange(2500) % 5)
    assert (five.low, five.high) == (pytest.approx(alone.low, abs=1e-4), 1.0)
    few = statistics.share(np.ones(3), list("abc"))
    assert (round(few.low, 2), few.high) == (0.44, 1.0)
    often = statistics.share(np.ones(6), list("aabbcc"))
    assert (often.low, often.high) == (pytest.approx(few.low), 1.0)
    none = statistics.share(np.zeros(30), np.arange(30) // 10)
    assert (none.low, none.value) == (0.0, 0.0)
    assert none.high > 0.5


def test_types_that_share_pictures_are_not_independent():
    rng = np.random.default_rng(8)
    easy = rng.random(100) < 0.6
    group, stratum = np.repeat(np.arange(100), 4), np.tile(list("abcd"), 100)
    together = statistics.share(easy[group], group, stratum)
    apart = statistics.share(rng.permutation(easy[group]), np.arange(400), stratum)
    assert together.high - together.low == pytest.approx(2 * (apart.high - apart.low), rel=0.05)
    one = statistics.share(easy, np.arange(100))
    assert (together.low, together.high) == pytest.approx((one.low, one.high), abs=0.006)


def test_a_small_type_without_a_fault_is_not_taken_to_be_faultless():
    """Of two types one has a thousand pictures, the other three that are all right."""
    rng = np.random.default_rng(9)
    right = np.append(rng.random(1000) < 0.5, np.ones(3))
    found = statistics.share(right, np.arange(1003), ["many"] * 1000 + ["few"] * 3)
    assert found.high - found.low > 0.3
    assert 0.0 <= found.low < found.value < found.high <= 1.0


def test_an_interval_is_inside_its_bounds_and_has_a_width():
    rng = np.random.default_rng(10)
    for trial in range(300):
        groups = int(rng.integers(1, 12))
        group = np.repeat(np.arange(groups), rng.integers(1, 6, groups))
        right = rng.random(len(group)) < rng.choice([0.0, 0.1, 0.5, 0.97, 1.0])
        stratum = rng.integers(0, 3, len(group))
        for found in (
            statistics.share(right, group, stratum),
            statistics.score(Graded(), rows_of(right / 2), group, stratum),
        ):
            assert 0.0 <= found.low <= found.value <= found.high <= 1.0, trial
            assert found.high - found.low > 0.02, trial
        gain = statistics.paired_difference(
            rows_of(right), rows_of(~right), group, TOTAL, strata=stratum, is_share=True
        )
        assert -1.0 <= gain.low <= gain.value <= gain.high <= 1.0, trial
        assert gain.high - gain.low > 0.02, trial


def test_scores_without_bounds_have_students_interval():
    values = np.random.default_rng(3).gamma(2, size=150)
    rows = np.stack([values, np.ones(150)], axis=1)
    found = statistics.score(Nats(), rows, np.arange(150))
    theirs = scipy.stats.t.interval(0.95, 149, values.mean(), scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx(theirs, rel=1e-9)
    assert statistics.score(Nats(), np.ones((4, 2)), list("abcd")) is None  # nothing shows how much it varies
    over = statistics.score(Graded(), rows, np.arange(150))  # some groups are beyond the best score
    assert (over.low, over.high) == pytest.approx(theirs, rel=1e-9)


def test_the_detectable_difference_is_that_of_the_same_variance():
    right = np.repeat(np.arange(100) % 2, 6)
    group = np.repeat(np.arange(100), 6)
    found = statistics.share(right, group)
    error = (found.high - found.low) / 2 / scipy.stats.t.ppf(0.975, 99)
    quantiles = scipy.stats.t.ppf([0.975, 0.8], 99).sum()
    detectable = statistics.detectable(ExactMatch(), rows_of(right), group)
    assert detectable == pytest.approx(np.sqrt(2) * error * quantiles)
    alone = statistics.detectable(ExactMatch(), rows_of(right), np.arange(600))
    assert detectable == pytest.approx(np.sqrt(6) * alone, rel=0.03)
    assert statistics.detectable(ExactMatch(), rows_of(right), np.zeros(600, dtype=int)) is None


@pytest.mark.parametrize(
    ("groups", "size", "correlation", "score"),
    [(40, 10, 1.0, 0.5), (60, 30, 0.3, 0.8), (30, 5, 0.6, 0.9), (200, 30, 0.1, 0.95)],
)
def test_intervals_of_a_share_hold_the_true_value_about_95_times_in_100(groups, size, correlation, score):
    rng = np.random.default_rng(6)
    spread = (1 - correlation) / correlation
    group = np.repeat(np.arange(groups), size)
    held, by_question = 0, 0
    for _ in range(300):
        ease = rng.random(groups) < score
        if correlation < 1:
            ease = rng.beta(score * spread, (1 - score) * spread, groups)
        right = rng.random(len(group)) < ease[group]
        found, naive = statistics.share(right, group), statistics.wilson(right.sum(), len(right))
        held += found.low <= score <= found.high
        by_question += naive.low <= score <= naive.high
    assert 276 <= held <= 297  # 285 expected, with a standard deviation of 3.8
    assert by_question < 255  # what takes questions for independent holds it far too seldom


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


def test_equal_answers_in_a_few_pictures_may_differ_elsewhere():
    rows = rows_of([1, 0, 1, 0])
    found = statistics.paired_difference(rows, rows, list("abcd"), TOTAL, is_share=True)
    error = np.sqrt(2 / 6 / 6)  # of six answers, one for each model and four for none
    assert (found.value, found.high) == (0.0, pytest.approx(scipy.stats.t.ppf(0.975, 3) * error))
    assert found.low == -found.high
    assert found == statistics.paired_difference(rows, rows, list("abcd"), TOTAL)
    many = rows_of(np.arange(400) % 2)
    assert statistics.paired_difference(many, many, np.arange(400), TOTAL).high < 0.007


def test_one_picture_tells_nothing_about_the_spread():
    rows = rows_of([1, 0])
    assert statistics.paired_difference(rows, rows, ["a", "a"], TOTAL) == Estimate(0.0, -1.0, 1.0)
    assert statistics.share([1, 0], ["a", "a"]) == Estimate(0.5, 0.0, 1.0)


def test_intervals_of_a_difference_hold_the_true_value_about_95_times_in_100():
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        ease = rng.random(60)[:, None] < 0.5  # pictures are easy or hard for all of their questions
        first = rng.random((60, 4)) < np.where(ease, 0.9, 0.5)
        second = rng.random((60, 4)) < np.where(ease, 0.7, 0.3)
        groups = [str(n) for n in range(60) for _ in range(4)]
        found = statistics.paired_difference(
            rows_of(first.ravel()), rows_of(second.ravel()), groups, TOTAL, is_share=True
        )
        held += found.low <= 0.2 <= found.high
    assert 178 <= held <= 199  # 190 expected, with a standard deviation of 3.1


@pytest.mark.parametrize("count", [1, 7, 50, 4000])
def test_wilson_and_mcnemar_are_scipys(count):
    rng = np.random.default_rng(count)
    for _ in range(20):
        first, second = rng.random((2, count)) < rng.random(2)[:, None]
        interval = scipy.stats.binomtest(int(first.sum()), count).proportion_ci(method="wilson")
        found = statistics.wilson(first.sum(), count)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
        only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
        if only_first + only_second:
            exact = scipy.stats.binomtest(only_first, only_first + only_second).pvalue
            assert statistics.mcnemar(first, second) == pytest.approx(exact, rel=1e-9, abs=1e-300)


def test_mcnemar_looks_only_at_questions_that_the_models_answer_differently():
    first, second = np.array([1] * 6 + [0] + [1] * 50), np.array([0] * 6 + [1] + [1] * 50)
    assert statistics.mcnemar(first, second) == pytest.approx(2 * (1 + 7) / 2**7)
    assert statistics.mcnemar(second, first) == statistics.mcnemar(first[:7], second[:7])
    assert statistics.mcnemar(first, first) == 1
    with pytest.raises(ValueError, match=r"answers of shapes \(57,\) and \(3,\)"):
        statistics.mcnemar(first, second[:3])


def test_holm_gives_the_worked_example():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.7, 0.6]) == [1.0, 1.0]
    assert statistics.holm([]) == []
    for wrong in (1.2, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            statistics.holm([0.1, wrong])


def test_holm_is_the_closed_test_of_bonferroni():
    rng = np.random.default_rng(0)
    for _ in range(30):
        p = rng.random(5) ** 3
        # A test is rejected if every family that it belongs to is rejected by Bonferroni.
        families = [family for size in range(1, 6) for family in combinations(range(5), size)]
        closed = [
            max(min(1, len(family) * p[list(family)].min()) for family in families if i in family)
            for i in range(5)
        ]
        assert statistics.holm(p) == pytest.approx(closed, abs=1e-15)


def test_leaving_groups_out_agrees_with_scipys_bootstrap_on_a_corpus_metric():
    rng = np.random.default_rng(3)
    words = rng.integers(3, 21, 150)
    hits = rng.binomial(words, 0.6), rng.binomial(words - 1, 0.4)
    rows = np.stack([hits[0], words, hits[1], words - 1], axis=1).astype(float)

    class Precisions(Graded):
        def total(self, sums):
            return np.sqrt(TOTAL(sums[..., :2]) * TOTAL(sums[..., 2:]))

    found = statistics.score(Precisions(), rows, np.arange(150))
    theirs = scipy.stats.bootstrap(
        (np.arange(150),),
        lambda picked, axis: Precisions().total(rows[picked].sum(-2)),
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_p_values_count_the_draws_and_agree_with_the_normal_approximation():
    rng = np.random.default_rng(2)
    first, second = rng.random((2, 400)) < np.array([0.58, 0.50])[:, None]
    groups = [str(n // 2) for n in range(400)]
    found = statistics.paired_test(rows_of(first), rows_of(second), groups, TOTAL)
    assert found.difference == statistics.paired_difference(rows_of(first), rows_of(second), groups, TOTAL)
    difference = (first.astype(float) - second).reshape(200, 2).mean(1)
    assert found.standard_error == pytest.approx(difference.std(ddof=1) / np.sqrt(200), rel=0.02)
    by_t = scipy.stats.t.sf(found.difference.value / found.standard_error, 199)
    assert found.p_greater == pytest.approx(by_t, rel=0.3)
    assert found.p_greater >= by_t * (1 - 1e-9)
    assert 0.001 < by_t < 0.2
    assert found.p_two_sided == 2 * found.p_greater
    few = statistics.paired_test(rows_of(first), rows_of(second), groups, TOTAL, resamples=99)
    assert (few.p_greater * 100) == pytest.approx(round(few.p_greater * 100), abs=1e-9)


def test_exchanging_the_models_exchanges_the_sides():
    first, second = rows_of([1, 1, 1, 1, 0, 1, 1, 0]), rows_of([0, 1, 0, 1, 0, 0, 1, 1])
    there = statistics.paired_test(first, second, list("abcdefgh"), TOTAL)
    back = statistics.paired_test(second, first, list("abcdefgh"), TOTAL)
    assert back.p_two_sided == there.p_two_sided
    assert back.p_greater > 0.5 > there.p_greater
    assert back.difference.value == -there.difference.value
    assert back.detectable == pytest.approx(there.detectable)


def test_equal_models_and_single_pictures_are_no_evidence():
    rows = rows_of([1, 0, 1, 0])
    same = statistics.paired_test(rows, rows, list("abcd"), TOTAL)
    assert (same.p_greater, same.p_two_sided) == (1, 1)
    assert same.standard_error == pytest.approx(np.sqrt(2) / 6)  # one more answer for each, of six
    assert same.detectable > 0.9  # four pictures find next to nothing
    alone = statistics.paired_test(rows, rows_of([0, 0, 0, 0]), ["a"] * 4, TOTAL)
    assert (alone.p_greater, alone.p_two_sided) == (1, 1)
    assert np.isnan(alone.detectable)


def test_a_draw_without_a_stratum_is_the_mean_of_the_others():
    first, second = rows_of([1, 1, 1, 1]), rows_of([0, 0, 0, 0])
    strata = ["rare", "often", "often", "often"]  # three draws in ten have no rare one
    draws = statistics._paired_draws(first, second, list("abcd"), TOTAL, strata, 200, 0)
    assert (draws == 1.0).all()
    found = statistics.paired_difference(first, second, list("abcd"), TOTAL, strata=strata, is_share=True)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low < 0.0  # a single rare picture tells nothing of others


def test_draws_in_which_nothing_counts_say_nothing():
    first, second = rows_of([1, 1, 0, 0]), rows_of([0, 0, 0, 0])
    first[2:] = second[2:] = 0  # two of the four pictures hold no question that counts
    found = statistics.paired_test(first, second, list("abcd"), TOTAL)
    two = statistics.paired_test(first[:2], second[:2], list("ab"), TOTAL)
    assert (found.difference, found.standard_error) == (two.difference, two.standard_error)
    assert statistics.share(first, list("abcd")) == statistics.share(first[:2], list("ab"))
    none = statistics.paired_test(0 * first, 0 * second, list("abcd"), TOTAL)
    assert np.isnan([none.difference.value, none.difference.low, none.standard_error]).all()
    assert none.p_two_sided == 1


def test_the_smallest_p_value_says_how_many_draws_there_were():
    found = statistics.paired_test(
        rows_of([1] * 30), rows_of([0] * 30), [str(n) for n in range(30)], TOTAL, resamples=199
    )
    assert found.p_greater == 1 / 200
    assert found.p_two_sided == 2 / 200


def test_the_paired_test_rejects_one_in_twenty_under_the_null_if_it_draws_pictures():
    """Two copies of one model with label noise: each sees some pictures wrongly, and slips at single questions."""
    rng = np.random.default_rng(11)
    pictures, questions, trials = 100, 4, 1000
    right = rng.random((trials, 1, pictures, questions)) < rng.random((trials, 1, pictures, 1))
    misread = rng.random((trials, 2, pictures, 1)) < 0.2
    slip = rng.random((trials, 2, pictures, questions)) < 0.1
    answers = ((right & ~misread) ^ slip).reshape(trials, 2, -1)
    by_picture = [str(n // questions) for n in range(pictures * questions)]
    by_question = [str(n) for n in range(pictures * questions)]

    def rejections(groups: list[str], some: int) -> float:
        tests = (
            statistics.paired_test(rows_of(a), rows_of(b), groups, TOTAL, resamples=600, seed=n)
            for n, (a, b) in enumerate(answers[:some])
        )
        return float(np.mean([test.p_two_sided <= 0.05 for test in tests]))

    assert 0.03 <= rejections(by_picture, trials) <= 0.07
    assert rejections(by_question, 300) > 0.09  # questions of one picture are not independent


def test_a_detectable_difference_is_found_four_times_in_five():
    assert statistics.detectable_difference(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-6)
    assert statistics.detectable_difference(2.0, confidence=0.99, power=0.9) == pytest.approx(
        2 * (2.575829 + 1.281552), abs=1e-5
    )
    rng = np.random.default_rng(4)
    count, share = 400, 0.3  # of the questions, that share is answered differently
    effect = statistics.detectable_difference(np.sqrt(share / count))
    found, named = 0, []
    for trial in range(400):
        differs = rng.random(count) < share
        first = np.where(differs, rng.random(count) < 0.5 + effect / share / 2, True)
        test = statistics.paired_test(
            rows_of(first),
            rows_of(first ^ differs),
            [str(n) for n in range(count)],
            TOTAL,
            resamples=400,
            seed=trial,
        )
        found += test.p_two_sided <= 0.05
        named.append(test.detectable)
    assert 0.74 <= found / 400 <= 0.86  # 0.80 expected, with a standard deviation of 0.02
    assert np.mean(named) == pytest.approx(effect, rel=0.05)


def runs_of(right) -> np.ndarray:
    """Right answers ``runs R`` as rows ``runs R 2``."""
    return np.stack([rows_of(one) for one in right])


def trained(rng: np.random.Generator, seeds: int, pictures: int, *, spread: float, gain: float) -> np.ndarray:
    """Two compositions on the same pictures: bool 2 seeds (pictures x 4); pictures are easy or hard for both."""
    ease = rng.uniform(0.3, 0.7, size=(1, 1, pictures, 1)) + rng.normal(0, 0.1, size=(2, 1, pictures, 1))
    seed = rng.normal(0, spread, size=(2, seeds, 1, 1))
    chance = ease + seed + np.array([gain, 0.0])[:, None, None, None]
    return (rng.random((2, seeds, pictures, 4)) < chance).reshape(2, seeds, -1)


@pytest.mark.parametrize("spread", [0.03, 0.08])
def test_the_crossed_test_rejects_about_one_in_twenty_under_the_null(spread):
    rng = np.random.default_rng(17)
    groups = [str(n // 4) for n in range(240)]
    crossed, fixed = 0, 0
    for trial in range(1000):
        first, second = trained(rng, 3, 60, spread=spread, gain=0.0)
        found = statistics.crossed_difference(runs_of(first), runs_of(second), groups, TOTAL, is_share=True)
        crossed += found.p_two_sided <= 0.05
        assert (found.p_two_sided <= 0.05) == (not found.difference.low < 0 < found.difference.high)
        if trial < 300:
            seeds_ignored = statistics.crossed_difference(
                runs_of([first.mean(0)]), runs_of([second.mean(0)]), groups, TOTAL, is_share=True
            )
            fixed += seeds_ignored.p_two_sided <= 0.05
    assert 0.03 <= crossed / 1000 <= 0.07
    assert fixed / 300 > 0.09  # pictures alone know nothing of seeds


def test_a_strong_effect_is_found_and_its_interval_holds_it():
    rng = np.random.default_rng(18)
    groups = [str(n // 4) for n in range(240)]
    found, held, means_held = 0, 0, 0
    for _ in range(200):
        first, second = trained(rng, 3, 60, spread=0.03, gain=0.25)
        test = statistics.crossed_difference(runs_of(first), runs_of(second), groups, TOTAL, is_share=True)
        found += test.p_two_sided <= 0.05
        held += test.difference.low <= 0.25 <= test.difference.high
        mean = statistics.crossed_mean(runs_of(second), groups, TOTAL, is_share=True)
        means_held += mean.low <= 0.5 <= mean.high
    assert found >= 190
    assert held >= 184  # 190 expected, with a standard deviation of 3.1
    assert means_held >= 184


def test_a_difference_of_the_detectable_size_is_found_four_times_in_five_where_pictures_decide():
    rng = np.random.default_rng(19)
    groups = [str(n // 4) for n in range(240)]
    sizes = [
        statistics.crossed_difference(
            *map(runs_of, trained(rng, 1, 60, spread=0.0, gain=0.1)), groups, TOTAL, is_share=True
        ).detectable
        for _ in range(100)
    ]
    found = [
        statistics.crossed_difference(
            *map(runs_of, trained(rng, 1, 60, spread=0.0, gain=float(np.mean(sizes)))),
            groups,
            TOTAL,
            is_share=True,
        ).p_two_sided
        <= 0.05
        for _ in range(400)
    ]
    assert 0.73 <= np.mean(found) <= 0.87


def test_the_parts_of_the_error_are_those_of_an_analysis_of_variance():
    rng = np.random.default_rng(20)
    pictures, seeds = 400, 4
    effects = rng.normal(0, 0.2, size=(1, pictures)), rng.normal(0, 0.3, size=(seeds, 1))
    values = 2 + effects[0] + effects[1] + rng.normal(0, 0.5, size=(seeds, pictures))
    runs = np.stack([np.stack([one, np.ones(pictures)], axis=1) for one in values])
    found = statistics.crossed_mean(
        runs,
        [str(n) for n in range(pictures)],
        lambda sums: sums[..., 0] / sums[..., 1],
        best=4.0,
    )
    by_picture, by_seed = values.mean(0), values.mean(1)
    rest = values - by_picture - by_seed[:, None] + values.mean()
    noise = (rest**2).sum() / (pictures - 1) / (seeds - 1) / pictures / seeds
    parts = by_picture.var(ddof=1) / pictures, by_seed.var(ddof=1) / seeds
    error = np.sqrt(parts[0] + parts[1] - noise)
    freedom = error**4 / (parts[0] ** 2 / (pictures - 1) + parts[1] ** 2 / (seeds - 1))
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(scipy.stats.t.ppf(0.975, freedom) * error, rel=0.02)


def test_exchanging_the_sides_exchanges_the_sign():
    first, second = trained(np.random.default_rng(21), 3, 30, spread=0.05, gain=0.1)
    groups, strata = [str(n // 4) for n in range(120)], ["a", "b", "b", "c"] * 30
    there = statistics.crossed_difference(
        runs_of(first), runs_of(second), groups, TOTAL, strata=strata, is_share=True
    )
    back = statistics.crossed_difference(
        runs_of(second), runs_of(first), groups, TOTAL, strata=strata, is_share=True
    )
    assert back.difference.value == pytest.approx(-there.difference.value)
    assert back.difference.low == pytest.approx(-there.difference.high)
    assert back.p_two_sided == pytest.approx(there.p_two_sided)
    assert there.covers_seeds
    by_type = [(first[:, n::4].mean() - second[:, n::4].mean()) for n in range(4)]
    assert there.difference.value == pytest.approx(
        (by_type[0] + (by_type[1] + by_type[2]) / 2 + by_type[3]) / 3
    )


def test_runs_that_agree_everywhere_still_leave_a_doubt():
    same, other = np.ones((3, 20), dtype=bool), np.zeros((3, 20), dtype=bool)
    groups = [str(n) for n in range(20)]
    equal = statistics.crossed_difference(runs_of(same), runs_of(same), groups, TOTAL, is_share=True)
    assert equal.p_two_sided == 1
    assert equal.difference == Estimate(0.0, pytest.approx(-0.135, abs=1e-3), pytest.approx(0.135, abs=1e-3))
    sure = statistics.crossed_mean(runs_of(same), groups, TOTAL, is_share=True)
    assert (sure.value, sure.high) == (1.0, 1.0)
    assert sure.low == pytest.approx(statistics.wilson(20, 20).low)
    few = statistics.crossed_difference(
        runs_of(same[:, :3]), runs_of(other[:, :3]), groups[:3], TOTAL, is_share=True
    )
    assert 0.05 < few.p_two_sided < 0.3  # three pictures are three pictures, however clear
    many = statistics.crossed_difference(runs_of(same), runs_of(other), groups, TOTAL, is_share=True)
    assert many.p_two_sided < 1e-8


def test_one_run_a_side_covers_pictures_alone_and_one_picture_tells_nothing():
    first, second = trained(np.random.default_rng(22), 1, 60, spread=0.0, gain=0.2)
    groups = [str(n // 4) for n in range(240)]
    found = statistics.crossed_difference(runs_of(first), runs_of(second), groups, TOTAL, is_share=True)
    paired = statistics.paired_test(rows_of(first[0]), rows_of(second[0]), groups, TOTAL, is_share=True)
    assert not found.covers_seeds
    assert found.freedom == pytest.approx(59)
    assert found.standard_error == pytest.approx(paired.standard_error * np.sqrt(60 / 59), rel=0.05)
    alone = statistics.crossed_difference(runs_of(first), runs_of(second), ["a"] * 240, TOTAL, is_share=True)
    assert alone.difference == Estimate(pytest.approx(found.difference.value), -1.0, 1.0)
    assert alone.p_two_sided == 1
    assert np.isnan(alone.detectable)
    assert statistics.crossed_mean(runs_of(first), ["a"] * 240, TOTAL, is_share=True) == Estimate(
        first.mean(), 0.0, 1.0
    )
