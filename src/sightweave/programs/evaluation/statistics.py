"""Intervals of scores, differences between scores, and tests of them.

A share of right answers gets Wilson's interval (Wilson 1927). A difference between two scores on the same
samples gets a bootstrap (Efron 1979) that draws whole pictures: several questions share one, and are not
independent of each other. The same draws give a test of the difference, and how large one had to be to be found.
Where every picture has one question, McNemar's test (1947) needs no draws. Many tests at once are Holm's (1979).
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
