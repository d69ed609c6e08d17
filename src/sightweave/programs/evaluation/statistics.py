"""Intervals of scores, differences between scores, and tests of them.

Several questions share a picture and are not independent of each other, so whole pictures are what every number here
varies over. Variances leave out one picture at a time (`clusters`). Shares of right answers, and other scores between
0 and a best one, get Wilson's interval (Wilson 1927) with an effective number of answers and Student's t; differences
get Student's t. Means over types of question take their covariance, since types share pictures. A test of a
difference also draws whole pictures (Efron 1979). Where every picture has one question, McNemar's test (1947) needs no
draws. Compositions that were trained with several seeds each are compared over pictures and seeds
(`crossed_difference`). Many tests at once are Holm's (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Protocol

import numpy as np

from sightweave.programs.evaluation.clusters import (
    NOTHING,
    Clusters,
    Combination,
    Total,
    clusters,
    numbered,
    sums_of,
)

METHOD = (
    "95 % intervals vary over pictures, not questions: the variance is that of leaving out one picture (group) at a time, "
    "covariances between types included. Shares, and other scores with a best value, have Wilson's interval with the "
    "effective number of answers that this variance stands for and Student's t; differences have Student's t after one "
    "more answer for either side; scores without bounds have Student's t. Where all answers are alike, each picture "
    "counts as one answer."
)
"""How intervals are made, for readers of an evaluation."""
CONFIDENCE = 0.95
"""Share of such intervals that hold the true value."""
POWER = 0.8
"""Chance that a test finds a difference of the size that is called detectable."""
RESAMPLES = 10_000
"""Draws of a bootstrap: the ends of its interval then vary by less than one per cent of its width."""
_CELLS = 65_536
"""Draws x groups that are made at a time: what fits a core's own cache (int64: 512 kB)."""
_ROUNDING = 1e-12
"""Differences between means that are equal come out as this at most."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with its 95 % interval; scores and their differences are fractions, not per cent."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A difference between two scores on the same samples, and whether it may be chance.

    With B draws of whole groups and d* the difference in each. Draws of few groups reject too often, so no p-value is
    below that of Student's t with the variance that the interval has.
    """

    difference: Estimate
    """First minus second."""
    p_greater: float
    """One-sided: (1 + #{d* <= 0}) / (B + 1), small if the first is better; at least that of t."""
    p_two_sided: float
    """min(1, 2 min(that, (1 + #{d* >= 0}) / (B + 1))), small if either is better, at least that of t; 1 where nothing
    is known."""
    standard_error: float
    """The square root of the variance that the interval has; NaN with a single group."""
    detectable: float
    """The smallest true difference that such a comparison finds four times in five: `detectable_difference`."""


class Scored(Protocol):
    """What is needed of a metric."""

    is_proportion: bool

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score of sums ``... K``."""
        ...


def wilson(correct: float, count: float, *, quantile: float | None = None) -> Estimate:
    """Wilson's score interval of a proportion of independent answers.

    With p = correct / count and z the quantile:
    (p + z^2/2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Args:
        correct: Right answers; with an effective size, not a whole number.
        count: Answers.
        quantile: Two-sided; the normal distribution's for 95 % unless given.

    Raises:
        ValueError: no samples, or not 0 <= correct <= count.
    """
    if count <= 0 or not 0 <= correct <= count:
        raise ValueError(
            f"a proportion needs 0 <= correct <= count and count > 0 (got {correct:g} of {count:g})."
        )
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) if quantile is None else quantile
    correct, count = float(correct), float(count)
    share = correct / count
    centre = share + z * z / (2 * count)
    spread = z * float(np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2))
    scale = 1 + z * z / count
    low, high = (centre - spread) / scale, (centre + spread) / scale
    # At 0 and at 1 the formula's end is the value itself; rounding must not push it past.
    return Estimate(share, max(0.0, min(low, share)), min(1.0, max(high, share)))


def share(
    rows: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    strata: Sequence[object] | np.ndarray | None = None,
) -> Estimate:
    """A share of right answers of which several belong to one group; unweighted mean over strata if there are any.

    Wilson's interval with the effective number of answers n = p (1 - p) / V and Student's t in place of the normal
    quantile, where V is the variance between groups (`clusters.Combination`), covariances of strata included. At 0 and
    at 1, where V is 0, n is the effective number of groups, since whether answers of one group go together cannot be
    seen there. On such intervals: Dean and Pagano, Evaluating Confidence Interval Methods for Binomial Proportions in
    Clustered Surveys (2015); Franco et al., Comparative Study of Confidence Intervals for Proportions in Complex Sample
    Surveys (2019). ``python -m benchmarks.coverage`` prints how often they hold the true value.

    Args:
        rows: R 2, (1 or 0, 1) each; or R, right or wrong.
        groups: R names: what is independent of each other, such as the picture.
        strata: R names, such as types of question.

    Raises:
        ValueError: no row counts.
    """
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim == 1:
        rows = np.stack([rows, np.ones_like(rows)], axis=1)
    found = _scored(rows[None], groups, _ratio, strata, 1.0, True, True)
    if found is None:
        raise ValueError("a share needs an answer that counts.")
    return found.estimate


def score(
    metric: Scored,
    rows: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    strata: Sequence[object] | np.ndarray | None = None,
) -> Estimate | None:
    """A metric's score with its interval; unweighted mean over strata if there are any.

    Proportions are a `share`. Other scores from 0 to the best one get the same interval with p = score / best, so that
    it ends inside; those without such bounds (in some unit, or beyond them in some group) get Student's t about the
    value.

    Args:
        metric: The metric.
        rows: R K, its rows.
        groups: R names: what is independent of each other, such as the picture.
        strata: R names, such as types of question.

    Returns:
        None where no row counts, or where nothing bounds the interval.
    """
    found = _of_metric(metric, rows, groups, strata)
    return None if found is None or math.isnan(found.estimate.low) else found.estimate


def detectable(
    metric: Scored,
    rows: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    strata: Sequence[object] | np.ndarray | None = None,
) -> float | None:
    """The smallest true difference between two independent scores, each as sure as this one, that is found.

    From the interval of `score`: its half width is t standard errors. Two models on the same samples are compared more
    finely by `paired_test`. None where nothing is known of the spread.
    """
    found = _of_metric(metric, rows, groups, strata)
    if found is None or not found.is_known:
        return None
    return detectable_difference(math.sqrt(2) * found.error, freedom=found.freedom)


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    total: Total,
    *,
    strata: Sequence[object] | np.ndarray | None = None,
    best: float = 1.0,
    is_share: bool = False,
) -> Estimate:
    """``total(first) - total(second)`` on the same samples, with an interval over whole groups.

    Student's t with the variance between groups. Differences of shares first get two more answers in each stratum, in
    one of which the first is right and in the other the second (Bonett and Price 2012):
    where the two never differ in a handful of pictures, that does not show that they never would. Other scores get
    the two where no group differs. With one group nothing is known of the spread, and the interval is all of -best to
    best.

    Args:
        first: R K, rows of a metric.
        second: R K, rows of the same metric on the same samples.
        groups: R names: what is independent of each other, such as the picture.
        total: The metric's total.
        strata: R names: the difference is then the unweighted mean over strata, such as question types.
        best: The score of perfect answers.
        is_share: Whether rows are (1 or 0, 1).
    """
    return _compared([first], [second], groups, total, strata, best, is_share).difference


def paired_test(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    total: Total,
    *,
    strata: Sequence[object] | np.ndarray | None = None,
    best: float = 1.0,
    is_share: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Whether ``total(first) - total(second)`` may be chance; arguments as in `paired_difference`, and of the draws.

    With one group all p-values are 1.
    """
    found = _compared([first], [second], groups, total, strata, best, is_share)
    if math.isnan(found.standard_error):
        nothing = float("nan")
        return PairedTest(found.difference, 1.0, 1.0, nothing, nothing)
    draws = _paired_draws(first, second, groups, total, strata, resamples, seed)
    draws = draws[~np.isnan(draws)]  # a draw of pictures without any row that counts says nothing
    greater = (1 + int((draws <= _ROUNDING).sum())) / (len(draws) + 1)
    less = (1 + int((draws >= -_ROUNDING).sum())) / (len(draws) + 1)
    by_t = found.p_two_sided
    one_sided = by_t / 2 if found.difference.value > 0 else 1 - by_t / 2
    return PairedTest(
        difference=found.difference,
        p_greater=max(greater, one_sided),
        p_two_sided=max(by_t, min(1.0, 2 * min(greater, less))),
        standard_error=found.standard_error,
        detectable=found.detectable,
    )


def detectable_difference(
    standard_error: float,
    *,
    confidence: float = CONFIDENCE,
    power: float = POWER,
    freedom: float = math.inf,
) -> float:
    """The smallest true difference that a two-sided test finds with the given power.

    (t(1 - alpha / 2) + t(power)) * standard error, with alpha = 1 - confidence: 2.80 standard errors at 95 % and
    80 % with many degrees of freedom. For n pairs of single questions of which a share q gets one right and one wrong
    answer, the standard error is about sqrt(q / n).
    """
    return (_student(0.5 + confidence / 2, freedom) + _student(power, freedom)) * standard_error


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact two-sided p-value of two models' right and wrong answers to the same questions.

    Only the n questions that one of them gets right and the other wrong tell anything: under the null the smaller
    part k of them is binomial(n, 1/2), and p = min(1, 2 P(X <= k)). The questions must be independent: where
    several share a picture, use `paired_test`.

    Args:
        first: bool R, whether the first model's answer is right.
        second: bool R, the same for the second model.

    Raises:
        ValueError: not the same number of answers.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"mcnemar: answers of shapes {first.shape} and {second.shape}; give one per question for both models."
        )
    n = int((first != second).sum())
    k = min(int((first & ~second).sum()), int((second & ~first).sum()))
    # P(X = k) by logarithms, then the terms below it by their ratios, which never exceed 1.
    largest = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
    below = np.arange(k, 0, -1, dtype=np.float64)
    return min(1.0, 2 * largest * (1 + float(np.cumprod(below / (n - below + 1)).sum())))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of many tests, adjusted: the chance of any false alarm among those under 0.05 is 5 % at most.

    Step-down (Holm 1979): the i-th smallest of m, counted from 0, becomes the largest of (m - j) p_j over j <= i,
    at most 1. The tests may depend on each other.

    Raises:
        ValueError: a p-value outside 0 to 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"holm: p-values must be from 0 to 1 (got {list(p_values)}).")
    order = np.argsort(values, kind="stable")
    steps = (len(values) - np.arange(len(values))) * values[order]
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in adjusted]


def resampled_sums(
    rows: np.ndarray, groups: Sequence[object] | np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Sums of the rows ``R ...`` in each bootstrap draw of whole groups: float64 ``resamples ...``."""
    index = numbered(groups)
    flat = np.asarray(rows, dtype=np.float64).reshape(1, len(index), -1)
    drawn = _drawn(sums_of(flat, index, int(index.max()) + 1)[:, 0], resamples, seed)
    return drawn.reshape(resamples, *np.shape(rows)[1:])


def _drawn(sums: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums ``G ...`` of groups, added up in each draw of G of them: ``resamples ...``.

    No order of adding and no number of threads can change a bit of the result: sums are rounded to steps so coarse that
    all their sums are exact in float64, or are added as float32 where they are whole and small enough to be exact there.
    The error is below G / 2^52 of the largest.
    """
    num_groups = len(sums)
    flat = sums.reshape(num_groups, -1)
    most = np.abs(flat).max(0, initial=0.0) * num_groups
    is_small = (flat == np.rint(flat)).all() and most.max(initial=0.0) < 2**24
    if not is_small:
        step = np.ldexp(1.0, np.frexp(most)[1] - 52)
        flat = np.rint(flat / step) * step
    flat = flat.astype(np.float32 if is_small else np.float64)

    rng = np.random.default_rng(seed)
    chunk = max(1, min(resamples, _CELLS // num_groups))
    drawn = np.empty((resamples, flat.shape[1]))
    # A call for each draw costs more than what it does where there are few groups, so many are made by one.
    offsets = np.arange(chunk)[:, None] * num_groups
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        # In 32 bits: narrower ones are thrown away at the end of a call, and draws would depend on the chunks.
        members = rng.integers(num_groups, size=(size, num_groups), dtype=np.uint32) + offsets[:size]
        counts = np.bincount(members.ravel(), minlength=size * num_groups)
        drawn[start : start + size] = counts.reshape(size, num_groups).astype(flat.dtype) @ flat
    return drawn.reshape(resamples, *sums.shape[1:])


def _paired_draws(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    total: Total,
    strata: Sequence[object] | np.ndarray | None,
    resamples: int,
    seed: int,
) -> np.ndarray:
    """The difference in each draw of whole groups: mean over the strata that the draw has."""
    runs, group = np.stack([first, second]).astype(np.float64), numbered(groups)
    stratum = np.zeros(len(group), dtype=np.intp) if strata is None else numbered(strata)
    num_groups, num_strata = int(group.max()) + 1, int(stratum.max()) + 1
    sums = sums_of(runs, group * num_strata + stratum, num_groups * num_strata)
    scores = total(_drawn(sums.reshape(num_groups, num_strata, *sums.shape[1:]), resamples, seed))
    return _mean_of_known(scores[..., 0] - scores[..., 1])


@dataclass(frozen=True, slots=True)
class _Found:
    """A score and how sure it is."""

    estimate: Estimate
    error: float
    """Half the interval, in quantiles of t."""
    freedom: float
    is_known: bool
    """Whether any stratum has two groups or more."""


def _of_metric(
    metric: Scored,
    rows: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    strata: Sequence[object] | np.ndarray | None,
) -> _Found | None:
    best = float(getattr(metric, "best", 1.0))
    bounded = not hasattr(metric, "unit")
    runs = np.asarray(rows)[None]
    found = _scored(runs, groups, metric.total, strata, best, bounded, metric.is_proportion)
    if found is not None and getattr(metric, "less_is_better", False) and found.estimate.low < 0:
        # Errors are counted, so there are never fewer than none.
        return replace(found, estimate=replace(found.estimate, low=0.0))
    return found


def _scored(
    runs: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    total: Total,
    strata: Sequence[object] | np.ndarray | None,
    best: float,
    bounded: bool,
    is_share: bool,
) -> _Found | None:
    """The mean over runs and strata, over pictures and, with several runs, seeds; None where no row counts."""
    found = clusters(runs, groups, total, strata)
    if found is None:
        return None
    weights = np.full(len(runs), 1 / len(runs))
    made = Combination(found, weights, best=best, is_share=is_share, bounded=bounded)
    seeds = _of_seeds(found, [slice(0, len(runs))])
    variances = made.of_scores() if made.is_inside else made.variances
    pictures, value = made.variance(variances), made.value
    variance = pictures + seeds.variance
    freedom = seeds.freedom(pictures, made.freedom(variances))
    if made.is_inside and variance <= NOTHING * best**2:
        freedom = math.inf  # no variance is estimated: the groups are so many answers of one kind
    t = _student(0.5 + CONFIDENCE / 2, freedom)

    if not found.has_spread.any():
        low, high = (0.0, best) if bounded else (math.nan, math.nan)
    elif made.is_inside:
        low, high = _bounded_ends(made, variance, t)
    else:
        unknown = (made.is_equal | ~found.has_spread).any()
        half = math.nan if unknown else t * math.sqrt(variance)
        low, high = value - half, value + half
        if bounded and unknown:
            low, high = min(0.0, value), max(best, value)
        elif bounded and found.least >= -NOTHING:
            low = max(0.0, low)
    return _Found(Estimate(value, low, high), (high - low) / (2 * t), freedom, bool(found.has_spread.any()))


def _bounded_ends(made: Combination, variance: float, t: float) -> tuple[float, float]:
    """Wilson's, with as many answers as would have this variance, or as there are groups where nothing differs."""
    share = min(1.0, max(0.0, made.value / made.best))
    count = made.found.effective_in_all
    if variance > NOTHING * made.best**2 and share * (1 - share) > NOTHING:
        count = share * (1 - share) * made.best**2 / variance
    one = wilson(share * count, count, quantile=t)
    return min(made.value, made.best * one.low), max(made.value, made.best * one.high)


def _ratio(sums: np.ndarray) -> np.ndarray:
    found = np.full(sums.shape[:-1], np.nan)
    np.divide(sums[..., 0], sums[..., 1], out=found, where=sums[..., 1] > 0)
    return found


@dataclass(frozen=True, slots=True)
class CrossedTest:
    """A difference between two means over runs, and whether other pictures and other seeds might have given it."""

    difference: Estimate
    """First minus second."""
    p_two_sided: float
    """By Student's t; 1 where nothing is known."""
    standard_error: float
    """Of the difference; NaN with a single group."""
    freedom: float
    """Degrees of freedom of t, by Satterthwaite."""
    detectable: float
    """The smallest true difference that such a comparison finds four times in five."""
    covers_seeds: bool
    """Whether each side has two runs or more; else what another seed would change is not in it."""


def crossed_mean(
    runs: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    total: Total,
    *,
    strata: Sequence[object] | np.ndarray | None = None,
    best: float = 1.0,
    is_share: bool = False,
) -> Estimate:
    """The mean score of runs that differ in their seed only, with an interval over pictures and seeds.

    Arguments as in `crossed_difference`; with one group the interval is all of 0 to `best`, with one run it covers
    the pictures alone and is that of `score`.
    """
    found = _scored(np.asarray(runs), groups, total, strata, best, True, is_share)
    if found is None:
        return Estimate(float("nan"), 0.0, best)
    return found.estimate


def crossed_difference(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    total: Total,
    *,
    strata: Sequence[object] | np.ndarray | None = None,
    best: float = 1.0,
    is_share: bool = False,
) -> CrossedTest:
    """Mean score of the first runs less that of the second, on the same samples, tested over pictures and seeds.

    All runs answer the same samples, so pictures are paired; seeds of the two sides are independent. With n runs on a
    side, s^2 the variance of their scores, and the variance between P pictures as in `paired_difference`:

        seeds = max(0, sum over sides of (s^2 - c) / n)
        error = sqrt(pictures + seeds)

    Chance in single answers is in both `pictures` and s^2, so it is taken out of the latter once: c is the mean over
    runs of the variance, between pictures, of a run's score about its side's mean, times n / (n - 1).
    Student's t has (pictures + seeds)^2 / (pictures^2 / (P - 1) + sum (s^2 / n)^2 / (n - 1)) degrees of freedom
    (Satterthwaite 1946), at least 1. Runs are two-way samples, as in Bootstrapping Data Arrays of Arbitrary Order (Owen
    and Eckles 2012, arXiv:1106.2125).

    Args:
        first: n R K, rows of a metric for each run.
        second: n R K, rows of the same metric on the same samples.
        groups: R names: what is independent of each other, such as the picture.
        total: The metric's total.
        strata: R names: a score is then the unweighted mean over strata, such as question types.
        best: The score of perfect answers.
        is_share: Whether rows are (1 or 0, 1).
    """
    return _compared(first, second, groups, total, strata, best, is_share)


def _compared(
    first: np.ndarray | Sequence[np.ndarray],
    second: np.ndarray | Sequence[np.ndarray],
    groups: Sequence[object] | np.ndarray,
    total: Total,
    strata: Sequence[object] | np.ndarray | None,
    best: float,
    is_share: bool,
) -> CrossedTest:
    runs = np.concatenate([np.asarray(first), np.asarray(second)])
    one, other = len(first), len(second)
    covers_seeds, nothing = min(one, other) > 1, float("nan")
    found = clusters(runs, groups, total, strata)
    if found is None:
        return CrossedTest(Estimate(nothing, nothing, nothing), 1.0, nothing, nothing, nothing, covers_seeds)
    weights = np.array([1 / one] * one + [-1 / other] * other)
    made = Combination(found, weights, best=best, is_share=is_share)
    if not found.has_spread.any():
        return CrossedTest(Estimate(made.value, -best, best), 1.0, nothing, nothing, nothing, covers_seeds)

    centres, variances = _with_two_answers(made, is_share)
    seeds = _of_seeds(found, [slice(0, one), slice(one, one + other)])
    pictures = made.variance(variances)
    error = math.sqrt(pictures + seeds.variance)
    freedom = seeds.freedom(pictures, made.freedom(variances))
    half, centre, value = _student(0.5 + CONFIDENCE / 2, freedom) * error, float(centres.mean()), made.value
    low, high = max(-best, centre - half), min(best, centre + half)
    return CrossedTest(
        difference=Estimate(value, min(low, value), max(high, value)),
        p_two_sided=_student_p(centre / error, freedom),
        standard_error=error,
        freedom=freedom,
        detectable=detectable_difference(error, freedom=freedom),
        covers_seeds=covers_seeds,
    )


def _with_two_answers(made: Combination, is_share: bool) -> tuple[np.ndarray, np.ndarray]:
    """Centres and variances of each stratum's difference: S each.

    n answers of mean d and mean square q, and one of each of +-best, have the mean d n / (n + 2) and the mean square
    (n q + 2 best^2) / (n + 2).
    """
    known = ~made.is_equal & (made.variances > NOTHING)
    count = made.found.effective.copy()
    if is_share:
        np.divide(made.of_one, made.variances, out=count, where=known)
    square = made.square if is_share else made.values**2  # other answers count where all groups are equal
    square = (count * square + 2 * made.best**2) / (count + 2)
    centres = made.values * count / (count + 2)
    variances = (square - centres**2) / (count + 2)
    if not is_share:
        centres, variances = (
            np.where(known, made.values, centres),
            np.where(known, made.variances, variances),
        )
    alone = ~made.found.has_spread  # nothing is known of its spread
    return np.where(alone, made.values, centres), np.where(alone, made.best**2, variances)


@dataclass(frozen=True, slots=True)
class _Seeds:
    """What other seeds would change."""

    variance: float
    """Beyond what the pictures explain."""
    uncertain: float
    """Sum over sides of the squared variance of their mean by its degrees of freedom."""

    def freedom(self, pictures: float, of_pictures: float) -> float:
        """Degrees of freedom of the sum of the pictures' variance and this."""
        whole, uncertain = pictures + self.variance, pictures**2 / of_pictures + self.uncertain
        return max(1.0, whole**2 / uncertain) if uncertain else of_pictures


def _of_seeds(found: Clusters, sides: Sequence[slice]) -> _Seeds:
    scores, shifts = found.values.mean(0), found.of_groups()
    variance, uncertain = 0.0, 0.0
    for side in sides:
        n = side.stop - side.start
        if n > 1:
            among = float(scores[side].var(ddof=1)) / n
            about = shifts[:, side] - shifts[:, side].mean(1, keepdims=True)
            variance += among - float((about**2).sum()) / (n - 1) / n
            uncertain += among**2 / (n - 1)
    return _Seeds(max(0.0, variance), uncertain)


def mean_over_strata(
    runs: np.ndarray, total: Total, strata: Sequence[object] | np.ndarray | None = None
) -> np.ndarray:
    """The score of each run: rows ``n R K`` to ``n``, each the unweighted mean over strata (R names)."""
    stratum = np.zeros(runs.shape[1], dtype=np.intp) if strata is None else numbered(strata)
    return _mean_of_known(total(sums_of(runs, stratum, int(stratum.max()) + 1)).T)


def _mean_of_known(scores: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is no NaN: a draw may miss a small stratum altogether."""
    counts = (~np.isnan(scores)).sum(-1)
    return np.where(counts > 0, np.nansum(scores, axis=-1) / np.maximum(counts, 1), np.nan)


def _student(probability: float, freedom: float) -> float:
    """Quantile of Student's t."""
    if math.isinf(freedom):
        return NormalDist().inv_cdf(probability)
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))


def _student_p(value: float, freedom: float) -> float:
    """Two-sided p-value of Student's t."""
    from scipy.special import stdtr

    return min(1.0, 2 * float(stdtr(freedom, -abs(value))))
