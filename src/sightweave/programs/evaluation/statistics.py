"""Intervals of scores, differences between scores, and tests of these differences.

Questions about the same image are not independent of each other, so all variances here are over whole images; they are
computed by leaving out one image at a time (`clusters`). Shares of right answers, and other scores between 0 and a best
value, get Wilson's interval (Wilson 1927) with an effective number of answers and Student's t; differences get
Student's t. Means over question types use the covariance of the types, since these share images. Tests of a difference
also resample whole images (Efron 1979). If every image has a single question, McNemar's test (1947) needs no
resampling. Compositions that were trained with several seeds each are compared over images and seeds
(`crossed_difference`). Several tests at once are corrected by Holm's method (1979).
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
    "95 % intervals are over images, not questions: the variance comes from leaving out one image (group) at a time, "
    "including covariances between types. Shares and other scores with a best value have Wilson's interval with the "
    "effective number of answers that corresponds to this variance, and Student's t; differences have Student's t after "
    "adding one answer for each side; scores without bounds have Student's t. If all answers are the same, each image "
    "counts as one answer."
)
"""Description of the intervals for readers of an evaluation."""
CONFIDENCE = 0.95
"""Probability with which an interval should contain the true value."""
POWER = 0.8
"""Probability that a test detects a difference of the size that is called detectable."""
RESAMPLES = 10_000
"""Number of bootstrap draws: enough for the ends of an interval to vary by less than 1 % of its width."""
_CELLS = 65_536
"""Maximum number of draws x groups that are generated at once, to fit into a core's own cache (int64: 512 kB)."""
_ROUNDING = 1e-12
"""Largest difference that rounding may cause between equal means."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with its 95 % interval; scores and differences are fractions, not percentages."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A difference between two scores on the same samples, and a test of whether it may be due to chance.

    There are B draws of whole groups, with the difference d* in each. With few groups such draws reject too often, so
    no p-value is below that of Student's t with the variance of the interval.
    """

    difference: Estimate
    """Difference first minus second."""
    p_greater: float
    """One-sided p-value (1 + #{d* <= 0}) / (B + 1), small if the first is better; at least that of t."""
    p_two_sided: float
    """Two-sided p-value: twice the smaller of `p_greater` and (1 + #{d* >= 0}) / (B + 1), small if either is better; at
    most 1, at least that of t, and 1 if nothing is known."""
    standard_error: float
    """Square root of the interval's variance; NaN with a single group."""
    detectable: float
    """Smallest true difference that such a comparison detects with 80 % power; see `detectable_difference`."""


class Scored(Protocol):
    """The part of a metric that statistics need."""

    is_proportion: bool
    """Whether rows are (1 or 0, 1), so that the score is a share of right answers."""

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (shape ``...``) from summed rows (shape ``... K``)."""
        ...


def wilson(correct: float, count: float, *, quantile: float | None = None) -> Estimate:
    """Wilson's score interval for a proportion of independent answers.

    With p = correct / count and the quantile z, the interval is
    (p + z^2/2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Args:
        correct: Number of right answers; not an integer if `count` is an effective number.
        count: Number of answers.
        quantile: Two-sided quantile; by default that of the normal distribution for 95 %.

    Raises:
        ValueError: `count` is not above 0, or `correct` is not from 0 to `count`.
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

    # At 0 and 1 one end of the formula is the value itself; rounding must not push it beyond.
    return Estimate(share, max(0.0, min(low, share)), min(1.0, max(high, share)))


def share(
    rows: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    strata: Sequence[object] | np.ndarray | None = None,
) -> Estimate:
    """A share of right answers with its interval, where several answers may belong to one group.

    If strata are given, it is the unweighted mean over them. The interval is Wilson's with the effective number of
    answers n = p (1 - p) / V and Student's t instead of the normal quantile, where V is the variance between groups
    (`clusters.Combination`), including covariances of strata. At 0 and 1, where V is 0, n is the effective number of
    groups, since there the correlation within groups is unknown. On such intervals: Dean and Pagano, Evaluating
    Confidence Interval Methods for Binomial Proportions in Clustered Surveys (2015); Franco et al., Comparative Study
    of Confidence Intervals for Proportions in Complex Sample Surveys (2019). ``python -m benchmarks.coverage`` prints
    how often they contain the true value.

    Args:
        rows: R 2, each (1 or 0, 1); or R, right or wrong.
        groups: R names of independent groups, such as images.
        strata: R names, such as question types.

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
    """A metric's score with its interval; the unweighted mean over strata if these are given.

    Proportions are a `share`. Other scores between 0 and the best one get the same interval with p = score / best,
    which stays within these bounds. Scores without such bounds (with a unit and no best score, or beyond them in some
    group) get Student's t interval around the value.

    Args:
        metric: The metric.
        rows: R K, the metric's rows.
        groups: R names of independent groups, such as images.
        strata: R names, such as question types.

    Returns:
        The score; None if no row counts, or if nothing bounds the interval.
    """
    found = _of_metric(metric, rows, groups, strata)
    return None if found is None or math.isnan(found.estimate.low) else found.estimate


def detectable(
    metric: Scored,
    rows: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    strata: Sequence[object] | np.ndarray | None = None,
) -> float | None:
    """The smallest true difference that can be detected between two independent scores as uncertain as this one.

    It follows from the interval of `score`, whose half width is t standard errors. `paired_test` detects smaller
    differences between two models on the same samples. The result is None if nothing is known about the spread.
    Arguments as in `score`.
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

    The interval is Student's t with the variance between groups. For shares, two answers are added to each stratum
    first: one that only the first gets right and one that only the second gets right (Bonett and Price 2012), since two
    models that never differ on a few images may still differ on others. For other scores these two are added only if no
    group differs. With a single group nothing is known about the spread, and the interval is -best to best.

    Args:
        first: R K, rows of a metric.
        second: R K, rows of the same metric on the same samples.
        groups: R names of independent groups, such as images.
        total: The metric's total.
        strata: R names, such as question types; the difference is then the unweighted mean over strata.
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
    """Tests whether ``total(first) - total(second)`` could be due to chance; arguments as in `paired_difference`.

    With a single group, all p-values are 1.
    """
    found = _compared([first], [second], groups, total, strata, best, is_share)
    if math.isnan(found.standard_error):
        nothing = float("nan")
        return PairedTest(found.difference, 1.0, 1.0, nothing, nothing)

    draws = _paired_draws(first, second, groups, total, strata, resamples, seed)
    draws = draws[~np.isnan(draws)]  # a draw of images without any row that counts has no score
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
    """The smallest true difference that a two-sided test detects with the given power.

    It is (t(1 - alpha / 2) + t(power)) * standard error, with alpha = 1 - confidence: 2.80 standard errors at 95 % and
    80 % with many degrees of freedom. For n pairs of single questions of which a share q gets one right and one wrong
    answer, the standard error is about sqrt(q / n).
    """
    return (_student(0.5 + confidence / 2, freedom) + _student(power, freedom)) * standard_error


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact two-sided p-value of two models' right and wrong answers to the same questions (McNemar's test).

    Only the n questions that exactly one of them gets right matter: with k the smaller number of the two sides and X
    binomial(n, 1/2), p = min(1, 2 P(X <= k)). The questions must be independent: if several share an image, use
    `paired_test`.

    Args:
        first: bool R, whether the first model's answer is right.
        second: bool R, the same for the second model.

    Raises:
        ValueError: the numbers of answers differ.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"mcnemar: answers of shapes {first.shape} and {second.shape}; give one per question for both models."
        )

    n = int((first != second).sum())
    k = min(int((first & ~second).sum()), int((second & ~first).sum()))
    # Compute P(X = k) by logarithms, then the terms below it by their ratios, which never exceed 1.
    largest = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
    below = np.arange(k, 0, -1, dtype=np.float64)
    return min(1.0, 2 * largest * (1 + float(np.cumprod(below / (n - below + 1)).sum())))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts the p-values of several tests (Holm 1979), in the given order.

    The probability of any false positive among the tests with an adjusted p-value under 0.05 is at most 5 %. Step-down:
    the i-th smallest of m p-values, counted from 0, becomes the maximum of (m - j) p_j over j <= i, but at most 1. The
    tests may depend on each other.

    Raises:
        ValueError: a p-value is not from 0 to 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"holm: p-values must be from 0 to 1 (got {list(p_values)}).")

    order = np.argsort(values, kind="stable")
    steps = (len(values) - np.arange(len(values))) * values[order]
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    found: list[float] = adjusted.tolist()
    return found


def resampled_sums(
    rows: np.ndarray, groups: Sequence[object] | np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Sums of the rows ``R ...`` in each bootstrap draw of whole groups: float64 ``resamples ...``."""
    index = numbered(groups)
    flat = np.asarray(rows, dtype=np.float64).reshape(1, len(index), -1)
    drawn = _drawn(sums_of(flat, index, int(index.max()) + 1)[:, 0], resamples, seed)
    return drawn.reshape(resamples, *np.shape(rows)[1:])


def _drawn(sums: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The totals of each draw of G groups with replacement, float64 ``resamples ...``, from the groups' sums ``G ...``.

    The result is bitwise independent of the order of additions and the number of threads: sums are rounded to steps
    that are so coarse that all totals are exact in float64, or are added as float32 if they are integers small enough
    to be exact there. The error is below G / 2^52 of the largest sum.
    """
    # Round the sums so that all totals are exact.
    num_groups = len(sums)
    flat = sums.reshape(num_groups, -1)
    most = np.abs(flat).max(0, initial=0.0) * num_groups
    is_small = (flat == np.rint(flat)).all() and most.max(initial=0.0) < 2**24
    if not is_small:
        step = np.ldexp(1.0, np.frexp(most)[1] - 52)
        flat = np.rint(flat / step) * step
    flat = flat.astype(np.float32 if is_small else np.float64)

    # Draw groups and add up their sums, several draws at a time.
    rng = np.random.default_rng(seed)
    chunk = max(1, min(resamples, _CELLS // num_groups))
    drawn = np.empty((resamples, flat.shape[1]))
    # With few groups, one call per draw would cost more than the draw itself.
    offsets = np.arange(chunk)[:, None] * num_groups
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        # Use 32 bits: each call discards the rest of narrower numbers, so draws would depend on the chunk size.
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
    """The difference in each draw of whole groups: the mean over the strata that occur in the draw."""
    runs, group = np.stack([first, second]).astype(np.float64), numbered(groups)
    stratum = np.zeros(len(group), dtype=np.intp) if strata is None else numbered(strata)
    num_groups, num_strata = int(group.max()) + 1, int(stratum.max()) + 1

    sums = sums_of(runs, group * num_strata + stratum, num_groups * num_strata)
    scores = total(_drawn(sums.reshape(num_groups, num_strata, *sums.shape[1:]), resamples, seed))
    return _mean_of_known(scores[..., 0] - scores[..., 1])


@dataclass(frozen=True, slots=True)
class _Found:
    """A score and its uncertainty."""

    estimate: Estimate
    error: float
    """Standard error: half the width of the interval, divided by the quantile of t."""
    freedom: float
    """Degrees of freedom of t."""
    is_known: bool
    """Whether any stratum has at least two groups."""


def _of_metric(
    metric: Scored,
    rows: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    strata: Sequence[object] | np.ndarray | None,
) -> _Found | None:
    """The score of a metric with its uncertainty; None if no row counts."""
    best = float(getattr(metric, "best", 1.0))
    bounded = hasattr(metric, "best") or not hasattr(metric, "unit")
    runs = np.asarray(rows)[None]
    found = _scored(runs, groups, metric.total, strata, best, bounded, metric.is_proportion)
    is_count = getattr(metric, "less_is_better", False) and not getattr(metric, "can_be_negative", False)
    if found is not None and is_count and found.estimate.low < 0:
        # Error rates are counts, which cannot be negative.
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
    """The mean over runs and strata, with its variance over images and, if there are several runs, over seeds.

    None if no row counts.
    """
    found = clusters(runs, groups, total, strata)
    if found is None:
        return None

    # Estimate the variance of the mean.
    weights = np.full(len(runs), 1 / len(runs))
    combined = Combination(found, weights, best=best, is_share=is_share, bounded=bounded)
    seeds = _of_seeds(found, [slice(0, len(runs))])
    variances = combined.of_scores() if combined.is_inside else combined.variances
    pictures, value = combined.variance(variances), combined.value
    variance = pictures + seeds.variance
    freedom = seeds.freedom(pictures, combined.freedom(variances))
    if combined.is_inside and variance <= NOTHING * best**2:
        freedom = math.inf  # no variance is estimated, because all groups have the same answers
    t = _student(0.5 + CONFIDENCE / 2, freedom)

    # Compute the ends of the interval.
    if not found.has_spread.any():
        low, high = (0.0, best) if bounded else (math.nan, math.nan)
    elif combined.is_inside:
        low, high = _bounded_ends(combined, variance, t)
    else:
        unknown = (combined.is_equal | ~found.has_spread).any()
        half = math.nan if unknown else t * math.sqrt(variance)
        low, high = value - half, value + half
        if bounded and unknown:
            low, high = min(0.0, value), max(best, value)
        elif bounded and found.least >= -NOTHING:
            low = max(0.0, low)

    return _Found(Estimate(value, low, high), (high - low) / (2 * t), freedom, bool(found.has_spread.any()))


def _bounded_ends(combined: Combination, variance: float, t: float) -> tuple[float, float]:
    """Wilson's ends for the number of answers with this variance, or for the number of groups if nothing differs."""
    share = min(1.0, max(0.0, combined.value / combined.best))
    count = combined.found.effective_in_all
    if variance > NOTHING * combined.best**2 and share * (1 - share) > NOTHING:
        count = share * (1 - share) * combined.best**2 / variance
    one = wilson(share * count, count, quantile=t)
    return min(combined.value, combined.best * one.low), max(combined.value, combined.best * one.high)


def _ratio(sums: np.ndarray) -> np.ndarray:
    """The total of a share, from ``... 2`` to ``...``; NaN without rows."""
    found = np.full(sums.shape[:-1], np.nan)
    np.divide(sums[..., 0], sums[..., 1], out=found, where=sums[..., 1] > 0)
    return found


@dataclass(frozen=True, slots=True)
class CrossedTest:
    """A difference between two means over runs, tested over images and seeds."""

    difference: Estimate
    """Difference first minus second."""
    p_two_sided: float
    """Two-sided p-value of Student's t; 1 if nothing is known."""
    standard_error: float
    """Standard error of the difference; NaN with a single group."""
    freedom: float
    """Degrees of freedom of t, by Satterthwaite."""
    detectable: float
    """Smallest true difference that such a comparison detects with 80 % power."""
    covers_seeds: bool
    """Whether each side has at least two runs; if not, the variation between seeds is not included."""


def crossed_mean(
    runs: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    total: Total,
    *,
    strata: Sequence[object] | np.ndarray | None = None,
    best: float = 1.0,
    is_share: bool = False,
) -> Estimate:
    """The mean score of runs that differ only in their seed, with an interval over images and seeds.

    `runs` (n R K) has the rows of a metric for each run; the other arguments are as in `crossed_difference`. With a
    single group the interval is 0 to `best`; with a single run it covers only the images and equals that of `score`.
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
    """The mean score of the first runs minus that of the second, on the same samples, tested over images and seeds.

    All runs answer the same samples, so images are paired; the seeds of the two sides are independent. With n runs on a
    side, the variance s^2 of their scores, and the variance `images` between P images as in `paired_difference`:

        seeds = max(0, sum over sides of (s^2 - c) / n)
        error = sqrt(images + seeds)

    Chance in single answers is part of both `images` and s^2, so it is subtracted from s^2: c is the mean over runs of the
    variance, between images, of a run's score around the mean of its side, times n / (n - 1). Student's t has
    (images + seeds)^2 / (images^2 / (P - 1) + sum (s^2 / n)^2 / (n - 1)) degrees of freedom (Satterthwaite 1946), but at
    least 1. Runs are two-way samples, as in Bootstrapping Data Arrays of Arbitrary Order (Owen and Eckles 2012,
    arXiv:1106.2125).

    Args:
        first: n R K, rows of a metric for each run.
        second: n R K, rows of the same metric on the same samples.
        groups: R names of independent groups, such as images.
        total: The metric's total.
        strata: R names, such as question types; a score is then the unweighted mean over strata.
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
    """The difference between the means of two sides, of one or more runs each."""
    runs = np.concatenate([np.asarray(first), np.asarray(second)])
    one, other = len(first), len(second)
    covers_seeds, nothing = min(one, other) > 1, float("nan")
    found = clusters(runs, groups, total, strata)
    if found is None:
        return CrossedTest(Estimate(nothing, nothing, nothing), 1.0, nothing, nothing, nothing, covers_seeds)

    weights = np.array([1 / one] * one + [-1 / other] * other)
    combined = Combination(found, weights, best=best, is_share=is_share)
    if not found.has_spread.any():
        return CrossedTest(
            Estimate(combined.value, -best, best), 1.0, nothing, nothing, nothing, covers_seeds
        )

    # Add the variance over images and that between seeds.
    centres, variances = _with_two_answers(combined, is_share)
    seeds = _of_seeds(found, [slice(0, one), slice(one, one + other)])
    pictures = combined.variance(variances)
    error = math.sqrt(pictures + seeds.variance)
    freedom = seeds.freedom(pictures, combined.freedom(variances))

    half, centre, value = (
        _student(0.5 + CONFIDENCE / 2, freedom) * error,
        float(centres.mean()),
        combined.value,
    )
    low, high = max(-best, centre - half), min(best, centre + half)
    return CrossedTest(
        difference=Estimate(value, min(low, value), max(high, value)),
        p_two_sided=_student_p(centre / error, freedom),
        standard_error=error,
        freedom=freedom,
        detectable=detectable_difference(error, freedom=freedom),
        covers_seeds=covers_seeds,
    )


def _with_two_answers(combined: Combination, is_share: bool) -> tuple[np.ndarray, np.ndarray]:
    """The centre and the variance of each stratum's difference with two answers added; S each.

    n answers with mean d and mean square q, together with one of +best and one of -best, have the mean d n / (n + 2)
    and the mean square (n q + 2 best^2) / (n + 2).
    """
    known = ~combined.is_equal & (combined.variances > NOTHING)
    count = combined.found.effective.copy()
    if is_share:
        np.divide(combined.of_one, combined.variances, out=count, where=known)
    # For other scores, this is used only if all groups are equal.
    square = combined.square if is_share else combined.values**2
    square = (count * square + 2 * combined.best**2) / (count + 2)
    centres = combined.values * count / (count + 2)
    variances = (square - centres**2) / (count + 2)
    if not is_share:
        centres = np.where(known, combined.values, centres)
        variances = np.where(known, combined.variances, variances)

    alone = ~combined.found.has_spread  # nothing is known about the spread of these strata
    return np.where(alone, combined.values, centres), np.where(alone, combined.best**2, variances)


@dataclass(frozen=True, slots=True)
class _Seeds:
    """The variation between seeds."""

    variance: float
    """Variance beyond that explained by the images."""
    uncertain: float
    """Sum over sides of the squared variance of their mean, divided by its degrees of freedom."""

    def freedom(self, pictures: float, of_pictures: float) -> float:
        """Degrees of freedom of the total variance over images and seeds.

        Args:
            pictures: Variance over images.
            of_pictures: Degrees of freedom of that variance.
        """
        whole = pictures + self.variance
        uncertain = pictures**2 / of_pictures + self.uncertain
        return max(1.0, whole**2 / uncertain) if uncertain else of_pictures


def _of_seeds(found: Clusters, sides: Sequence[slice]) -> _Seeds:
    """Estimates the variation between the runs of each side."""
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
    """The score of each run (n) as the unweighted mean over strata (R names), from rows ``n R K``."""
    stratum = np.zeros(runs.shape[1], dtype=np.intp) if strata is None else numbered(strata)
    return _mean_of_known(total(sums_of(runs, stratum, int(stratum.max()) + 1)).T)


def _mean_of_known(scores: np.ndarray) -> np.ndarray:
    """The mean over the last axis, ignoring NaN, since a draw may miss a small stratum entirely."""
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
