"""Intervals of scores, differences between scores, and tests of them.

A share of right answers gets Wilson's interval (Wilson 1927). A difference between two scores on the same
samples gets a bootstrap (Efron 1979) that draws whole pictures: several questions share one, and are not
independent of each other. The same draws give a test of the difference, and how large one had to be to be found.
Where every picture has one question, McNemar's test (1947) needs no draws. Compositions that were trained with several
seeds each are compared over pictures and seeds (`crossed_difference`). Many tests at once are Holm's (1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
"""Share of such intervals that hold the true value."""
POWER = 0.8
"""Chance that a test finds a difference of the size that is called detectable."""
RESAMPLES = 10_000
"""Draws of a bootstrap: the ends of its interval then vary by less than one per cent of its width."""
CROSSED_RESAMPLES = 2_000
"""Draws where only their variance is asked for: it then varies by 3 %, and an interval by half of that."""
_CELLS = 250_000
"""Draws x groups that are held at a time (float64: 2 MB): more would leave the processor's cache and be slower."""
_ROUNDING = 1e-12
"""Differences between means that are equal come out as this at most."""

Total = Callable[[np.ndarray], np.ndarray]
"""A metric's ``total``: sums ``... K`` -> scores ``...``."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with its 95 % interval; scores and their differences are fractions, not per cent."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A difference between two scores on the same samples, and whether it may be chance.

    With B draws of whole groups and d* the difference in each.
    """

    difference: Estimate
    """First minus second."""
    p_greater: float
    """One-sided: (1 + #{d* <= 0}) / (B + 1), small if the first is better."""
    p_two_sided: float
    """min(1, 2 min(that, (1 + #{d* >= 0}) / (B + 1))), small if either is better; 1 where nothing is known."""
    standard_error: float
    """Standard deviation of d*; NaN with a single group."""
    detectable: float
    """The smallest true difference that such a comparison finds four times in five: `detectable_difference`."""


def wilson(correct: float, count: float, *, confidence: float = CONFIDENCE) -> Estimate:
    """Wilson's score interval of a proportion.

    With p = correct / count and z the normal quantile:
    (p + z^2/2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Raises:
        ValueError: no samples, or not 0 <= correct <= count.
    """
    if count <= 0 or not 0 <= correct <= count:
        raise ValueError(
            f"a proportion needs 0 <= correct <= count and count > 0 (got {correct:g} of {count:g})."
        )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    correct, count = float(correct), float(count)
    share = correct / count
    centre = share + z * z / (2 * count)
    spread = z * float(np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2))
    scale = 1 + z * z / count
    low, high = (centre - spread) / scale, (centre + spread) / scale
    # At 0 and at 1 the formula's end is the value itself; rounding must not push it past.
    return Estimate(share, max(0.0, min(low, share)), min(1.0, max(high, share)))


def resampled_sums(
    rows: np.ndarray, groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Sums of the rows ``R ...`` in each bootstrap draw of whole groups: float64 ``resamples ...``."""
    _, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    num_groups = int(index.max()) + 1
    flat = np.asarray(rows, dtype=np.float64).reshape(len(index), -1)
    sums = np.zeros((num_groups, flat.shape[1]))
    np.add.at(sums, index, flat)
    rng = np.random.default_rng(seed)
    chunk = max(1, min(resamples, _CELLS // num_groups))
    drawn = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        picks = rng.integers(num_groups, size=(size, num_groups)) + num_groups * np.arange(size)[:, None]
        weights = np.bincount(picks.ravel(), minlength=size * num_groups).reshape(size, num_groups)
        drawn.append(weights.astype(np.float64) @ sums)
    return np.concatenate(drawn).reshape(resamples, *np.shape(rows)[1:])


def bootstrap(
    rows: np.ndarray,
    groups: Sequence[str],
    total: Total,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    best: float = 1.0,
) -> Estimate:
    """A score with a percentile interval over draws of whole groups; rows are ``R K``.

    With one group nothing is known of the spread, and the interval is all of 0 to `best`.
    """
    value = float(total(np.asarray(rows, dtype=np.float64).sum(0)))
    if len(set(groups)) < 2:
        return Estimate(value, 0.0, best)
    return _percentiles(value, total(resampled_sums(rows, groups, resamples=resamples, seed=seed)))


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[str],
    total: Total,
    *,
    strata: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """``total(first) - total(second)`` on the same samples, with an interval over draws of whole groups.

    With one group nothing is known of the spread, and the interval is all of -1 to 1.

    Args:
        first: R K, rows of a metric.
        second: R K, rows of the same metric on the same samples.
        groups: R names: what is drawn as a whole, such as the picture.
        total: The metric's total.
        strata: R names: the difference is then the unweighted mean over strata, such as question types.
        resamples: Number of draws.
        seed: Of the draws.
    """
    value, draws = _paired_draws(first, second, groups, total, strata, resamples, seed)
    return Estimate(value, -1.0, 1.0) if draws is None else _percentiles(value, draws)


def paired_test(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[str],
    total: Total,
    *,
    strata: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Whether ``total(first) - total(second)`` may be chance; arguments as in `paired_difference`.

    The bootstrap draws whole groups, and needs some dozens of them: with few it rejects too often. With one group
    both p-values are 1.
    """
    value, draws = _paired_draws(first, second, groups, total, strata, resamples, seed)
    if draws is None:
        return PairedTest(Estimate(value, -1.0, 1.0), 1.0, 1.0, float("nan"), float("nan"))
    difference = _percentiles(value, draws)
    draws = draws[~np.isnan(draws)]
    greater = (1 + int((draws <= _ROUNDING).sum())) / (len(draws) + 1)
    less = (1 + int((draws >= -_ROUNDING).sum())) / (len(draws) + 1)
    error = float(draws.std(ddof=1)) if len(draws) > 1 else float("nan")
    return PairedTest(
        difference=difference,
        p_greater=greater,
        p_two_sided=min(1.0, 2 * min(greater, less)),
        standard_error=error,
        detectable=detectable_difference(error),
    )


def detectable_difference(
    standard_error: float, *, confidence: float = CONFIDENCE, power: float = POWER
) -> float:
    """The smallest true difference that a two-sided test finds with the given power.

    (z(1 - alpha / 2) + z(power)) * standard error, with alpha = 1 - confidence: 2.80 standard errors at 95 % and
    80 %. For n pairs of single questions of which a share q gets one right and one wrong answer, the standard error
    is about sqrt(q / n).
    """
    normal = NormalDist()
    return (normal.inv_cdf(0.5 + confidence / 2) + normal.inv_cdf(power)) * standard_error


def detectable_unpaired(score: Estimate) -> float:
    """`detectable_difference` of two independent scores that are each as sure as this one.

    The standard error is taken from the interval's width. Two models on the same samples are compared more finely by
    `paired_test`.
    """
    error = (score.high - score.low) / (2 * NormalDist().inv_cdf(0.5 + CONFIDENCE / 2))
    return detectable_difference(math.sqrt(2) * error)


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


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """Unweighted mean of independent estimates.

    The distances to the ends add up as squares: the method of variance estimates recovery
    (Zou and Donner 2008, doi:10.1002/sim.3095).
    """
    num = len(estimates)
    value = sum(e.value for e in estimates) / num
    below = float(np.sqrt(sum((e.value - e.low) ** 2 for e in estimates))) / num
    above = float(np.sqrt(sum((e.high - e.value) ** 2 for e in estimates))) / num
    return Estimate(value, value - below, value + above)


def _percentiles(value: float, draws: np.ndarray) -> Estimate:
    draws = draws[~np.isnan(draws)]  # a draw of pictures without any row that counts says nothing
    if not len(draws):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))


def _paired_draws(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[str],
    total: Total,
    strata: Sequence[str] | None,
    resamples: int,
    seed: int,
) -> tuple[float, np.ndarray | None]:
    """The difference, and the difference in each draw of whole groups; None where there is one group only."""
    names, index = np.unique(
        np.asarray(strata if strata is not None else [""] * len(groups)), return_inverse=True
    )
    pair = np.stack([first, second], axis=1)  # R 2 K
    rows = np.zeros(
        (len(pair), len(names), *pair.shape[1:])
    )  # R strata 2 K: a row counts in its own stratum only
    rows[np.arange(len(pair)), index] = pair

    def difference(sums: np.ndarray) -> np.ndarray:
        scores = total(sums)
        gaps = scores[..., 0] - scores[..., 1]
        # A draw may miss a small stratum altogether; its mean is then over the others.
        counts = (~np.isnan(gaps)).sum(-1)
        return np.where(counts > 0, np.nansum(gaps, axis=-1) / np.maximum(counts, 1), np.nan)

    value = float(difference(rows.sum(0)))
    if len(set(groups)) < 2:
        return value, None
    return value, difference(resampled_sums(rows, groups, resamples=resamples, seed=seed))


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
    groups: Sequence[str],
    total: Total,
    *,
    strata: Sequence[str] | None = None,
    best: float = 1.0,
    resamples: int = CROSSED_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The mean score of runs that differ in their seed only, with an interval over pictures and seeds.

    Arguments as in `crossed_difference`; with one group the interval is all of 0 to `best`, with one run it covers
    the pictures alone.
    """
    found = _crossed([runs], groups, total, strata, best, resamples, seed)
    if found is None:
        return Estimate(float(mean_over_strata(runs, total, strata).mean()), 0.0, best)
    spread = _student(0.5 + CONFIDENCE / 2, found.freedom) * found.error
    return Estimate(found.value, max(0.0, found.value - spread), min(best, found.value + spread))


def crossed_difference(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[str],
    total: Total,
    *,
    strata: Sequence[str] | None = None,
    best: float = 1.0,
    resamples: int = CROSSED_RESAMPLES,
    seed: int = 0,
) -> CrossedTest:
    """Mean score of the first runs less that of the second, on the same samples, tested over pictures and seeds.

    All runs answer the same samples, so pictures are paired; seeds of the two sides are independent. With n runs on a
    side, s^2 the variance of their scores, P pictures, and d* the difference of the means in a draw of whole pictures:

        pictures = P / (P - 1) Var(d*)
        seeds    = max(0, sum over sides of (s^2 - c) / n)
        error    = sqrt(pictures + seeds)

    Chance in single answers is in both `pictures` and s^2, so it is taken out of the latter once: c is the mean over
    runs of the variance, in the same draws, of a run's score about its side's mean, times n / (n - 1) P / (P - 1).
    Student's t has (pictures + seeds)^2 / (pictures^2 / (P - 1) + sum (s^2 / n)^2 / (n - 1)) degrees of freedom
    (Satterthwaite 1946), at least 1. Runs are two-way samples, as in Bootstrapping Data Arrays of Arbitrary Order (Owen
    and Eckles 2012, arXiv:1106.2125).

    No error is believed that is less than one answer of each stratum would make: where nothing differs in a handful
    of pictures, that does not show that nothing ever would.

    Args:
        first: n R K, rows of a metric for each run.
        second: n R K, rows of the same metric on the same samples.
        groups: R names: what is drawn as a whole, such as the picture.
        total: The metric's total.
        strata: R names: a score is then the unweighted mean over strata, such as question types.
        best: The score of perfect answers.
        resamples: Number of draws.
        seed: Of the draws.
    """
    found = _crossed([first, second], groups, total, strata, best, resamples, seed)
    if found is None:
        value = float(np.subtract(*(mean_over_strata(one, total, strata).mean() for one in (first, second))))
        nothing = float("nan")
        return CrossedTest(Estimate(value, -best, best), 1.0, nothing, nothing, nothing, False)
    half = _student(0.5 + CONFIDENCE / 2, found.freedom)
    low, high = found.value - half * found.error, found.value + half * found.error
    return CrossedTest(
        difference=Estimate(found.value, max(-best, low), min(best, high)),
        p_two_sided=_student_p(found.value / found.error, found.freedom),
        standard_error=found.error,
        freedom=found.freedom,
        detectable=(half + _student(POWER, found.freedom)) * found.error,
        covers_seeds=min(len(first), len(second)) > 1,
    )


@dataclass(frozen=True, slots=True)
class _Crossed:
    value: float
    error: float
    freedom: float


def _crossed(
    sides: Sequence[np.ndarray],
    groups: Sequence[str],
    total: Total,
    strata: Sequence[str] | None,
    best: float,
    resamples: int,
    seed: int,
) -> _Crossed | None:
    """The mean of the first side, less that of the second if there is one; None where there is one group only."""
    num_groups = len(set(groups))
    if num_groups < 2:
        return None
    rows, sizes = _in_strata(np.concatenate(sides), strata)
    scores = _over_strata(total, rows.sum(0))  # runs
    draws = _over_strata(total, resampled_sums(rows, groups, resamples=resamples, seed=seed))  # draws x runs
    draws = draws[~np.isnan(draws).any(1)]  # a draw without any row that counts says nothing
    inflate = num_groups / (num_groups - 1)  # a draw is of the groups that are there, whose mean it knows
    value, drawn, start = 0.0, np.zeros(len(draws)), 0
    seeds, among_all = 0.0, 0.0
    for sign, side in zip((1, -1), sides, strict=False):
        n = len(side)
        mine = slice(start, start + n)
        start += n
        means = draws[:, mine].mean(1)
        value, drawn = value + sign * float(scores[mine].mean()), drawn + sign * means
        if n > 1:
            among = float(scores[mine].var(ddof=1)) / n
            about = (draws[:, mine] - means[:, None]).var(axis=0, ddof=1)
            seeds += among - inflate * float(about.sum()) / (n - 1) / n
            among_all += among**2 / (n - 1)
    pictures = inflate * float(drawn.var(ddof=1))
    variance, uncertain = pictures + max(0.0, seeds), pictures**2 / (num_groups - 1) + among_all
    freedom = max(1.0, variance**2 / uncertain) if uncertain else float(num_groups - 1)
    least = float(np.sqrt(((best / (len(sizes) * sizes)) ** 2).sum()))
    return _Crossed(value, max(least, math.sqrt(variance)), freedom)


def mean_over_strata(runs: np.ndarray, total: Total, strata: Sequence[str] | None = None) -> np.ndarray:
    """The score of each run: rows ``n R K`` to ``n``, each the unweighted mean over strata (R names)."""
    return _over_strata(total, _in_strata(runs, strata)[0].sum(0))


def _in_strata(runs: np.ndarray, strata: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows ``R strata runs K``, each in its own stratum only, and how many a stratum has."""
    names, index, sizes = np.unique(
        np.asarray(strata if strata is not None else [""] * runs.shape[1]),
        return_inverse=True,
        return_counts=True,
    )
    rows = np.zeros((runs.shape[1], len(names), len(runs), runs.shape[2]))
    rows[np.arange(len(rows)), index] = np.moveaxis(runs, 0, 1)
    return rows, sizes


def _over_strata(total: Total, sums: np.ndarray) -> np.ndarray:
    """Scores of sums ``... strata runs K``: the mean over the strata that a draw has, ``... runs``."""
    scores = total(sums)
    counts = (~np.isnan(scores)).sum(-2)
    return np.where(counts > 0, np.nansum(scores, axis=-2) / np.maximum(counts, 1), np.nan)


def _student(probability: float, freedom: float) -> float:
    """Quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(probability, freedom))


def _student_p(value: float, freedom: float) -> float:
    """Two-sided p-value of Student's t."""
    from scipy.stats import t

    return min(1.0, 2 * float(t.sf(abs(value), freedom)))
