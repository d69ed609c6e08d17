"""Intervals of scores and of differences between scores.

A share of right answers gets Wilson's interval (Wilson 1927). A difference between two scores on the same
samples gets a bootstrap (Efron 1979) that draws whole pictures: several questions share one, and are not
independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
"""Share of such intervals that hold the true value."""
RESAMPLES = 2000
"""Draws of a bootstrap: the ends of its interval then vary by a few per cent of its width."""
_CELLS = 4_000_000
"""Draws x groups that are held at a time (float64: 32 MB)."""

Total = Callable[[np.ndarray], np.ndarray]
"""A metric's ``total``: sums ``... K`` -> scores ``...``."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with its 95 % interval; scores and their differences are fractions, not per cent."""

    value: float
    low: float
    high: float


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
    rows: np.ndarray, groups: Sequence[str], total: Total, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """A score with a percentile interval over draws of whole groups; rows are ``R K``.

    With one group nothing is known of the spread, and the interval is all of 0 to 1.
    """
    value = float(total(np.asarray(rows, dtype=np.float64).sum(0)))
    if len(set(groups)) < 2:
        return Estimate(value, 0.0, 1.0)
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
        # A draw may miss a small stratum altogether; its mean is then over the others.
        return np.asarray(np.nanmean(scores[..., 0] - scores[..., 1], axis=-1))

    value = float(difference(rows.sum(0)))
    if len(set(groups)) < 2:
        return Estimate(value, -1.0, 1.0)
    return _percentiles(value, difference(resampled_sums(rows, groups, resamples=resamples, seed=seed)))


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
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))
