"""How far a score would move with other groups: the delete-one-group jackknife, stratum by stratum.

Several questions share a picture, so the groups are what varies, not the questions. Leaving out one group at a time
gives the variance of any metric whose rows add up, and the covariance of strata (types of question) that share
groups (Quenouille 1956; Tukey 1958; for surveys: Wolter, Introduction to Variance Estimation, 2007, chapter 4).
Nothing is drawn, so the same rows always give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Total = Callable[[np.ndarray], np.ndarray]
"""A metric's ``total``: sums ``... K`` -> scores ``...``."""
NOTHING = 1e-20
"""A variance at or below this is rounding: nothing differs."""
_ROUNDING = 1e-12
"""Differences between scores that are equal come out as this at most."""
_WEIGHT_OF_ONE = 5
"""In groups: how much it takes to believe that questions of one group differ more than others do."""
_FEW_COLUMNS = 8
"""Up to so many are quicker added one by one than as a sparse matrix."""
_DOUBT = 4.0
"""How far a variance that rests on k groups is drawn to the worst: this by k^2. Chosen by simulation."""
_NUMBERS = 1 << 21
"""Of sums that are held at a time while groups are left out (float64: 16 MB)."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """Scores of runs in strata, and how far each group moves them. S strata, n runs, G groups."""

    values: np.ndarray
    """S n: the score of each run in each stratum."""
    shifts: np.ndarray
    """C n, a row for each group in each stratum: scaled so that the sum of their squares over a stratum's groups is
    the jackknife variance of its score."""
    group: np.ndarray
    """C: number of the group."""
    stratum: np.ndarray
    """C: number of the stratum."""
    sizes: np.ndarray
    """S: rows that count."""
    overlap: np.ndarray
    """S S: sum over groups of the products of their shares of two strata's rows."""
    has_spread: np.ndarray
    """S, bool: whether the stratum has two groups or more and a score without each of them."""
    least: float
    """The lowest score that a group has by itself."""
    most: float
    """The highest."""
    moments: np.ndarray
    """S n n: mean over rows of the products of the runs' first numbers; a variance where rows are (value, 1)."""

    @property
    def effective(self) -> np.ndarray:
        """S: the number of groups of one size that would be as sure, (sum m)^2 / sum m^2 (Kish 1965)."""
        return 1 / np.diagonal(self.overlap)

    @property
    def effective_in_all(self) -> float:
        """The same for the mean over strata."""
        return float(len(self.overlap) ** 2 / self.overlap.sum())

    @property
    def is_single(self) -> bool:
        """Whether each group has one row."""
        return int(self.sizes.sum()) == int(self.group.max()) + 1

    def of_groups(self) -> np.ndarray:
        """G n: the shifts of the mean over strata."""
        found = np.zeros((int(self.group.max()) + 1, self.shifts.shape[1]))
        for run, column in enumerate(self.shifts.T):
            found[:, run] = np.bincount(self.group, weights=column, minlength=len(found))
        return found / len(self.values)


def numbered(names: Sequence[object] | np.ndarray) -> np.ndarray:
    """The names as numbers from 0 in their order; arrays of integers are quicker than texts."""
    values = np.asarray(names)
    if values.dtype.kind not in "iu":
        values = values.astype(str)
    return np.unique(values, return_inverse=True)[1]


def clusters(
    runs: np.ndarray,
    groups: Sequence[object] | np.ndarray,
    total: Total,
    strata: Sequence[object] | np.ndarray | None = None,
) -> Clusters | None:
    """Leaves out each group in turn; None where no row counts.

    Args:
        runs: n R K, rows of a metric for each run on the same samples. Rows of zeros in all runs do not count.
        groups: R names: what is independent of each other, such as the picture.
        total: The metric's total.
        strata: R names: scores are per stratum. A stratum without a score is left out.
    """
    runs = np.asarray(runs, dtype=np.float64)
    group = numbered(groups)
    stratum = np.zeros(len(group), dtype=np.intp) if strata is None else numbered(strata)
    counts = np.abs(runs).max(axis=(0, 2), initial=0.0) > 0
    in_strata = sums_of(runs[:, counts], stratum[counts], int(stratum.max()) + 1)
    has_score = ~np.asarray(np.isnan(total(in_strata)).any(axis=1))
    counts &= has_score[stratum]
    if not counts.any():
        return None
    runs, group, stratum = runs[:, counts], numbered(group[counts]), numbered(stratum[counts])

    # One cell for each group in each stratum, since leaving it out moves no other stratum.
    num_strata = int(stratum.max()) + 1
    cells, of_cell, rows_in = np.unique(group * num_strata + stratum, return_inverse=True, return_counts=True)
    cell_group, cell_stratum = np.divmod(cells, num_strata)
    in_strata = sums_of(runs, stratum, num_strata)
    left, alone = _left_out(sums_of(runs, of_cell, len(cells)), in_strata, cell_stratum, total)

    # The jackknife's variance is (G - 1) / G times the sum of squares about the mean over groups.
    groups_in = np.bincount(cell_stratum, minlength=num_strata)
    means = sums_of(left.T[..., None], cell_stratum, num_strata)[..., 0] / groups_in[:, None]
    scale = np.sqrt((groups_in - 1) / groups_in)
    shifts = scale[cell_stratum, None] * (left - means[cell_stratum])
    has_spread = (groups_in > 1) & ~np.isnan(means).any(1)

    sizes = np.bincount(stratum, minlength=num_strata)
    return Clusters(
        values=total(in_strata),
        shifts=np.where(has_spread[cell_stratum, None], shifts, 0.0),
        group=cell_group,
        stratum=cell_stratum,
        sizes=sizes,
        overlap=products(rows_in / sizes[cell_stratum], cell_group, cell_stratum),
        has_spread=has_spread,
        least=float(alone[~np.isnan(alone)].min(initial=np.inf)),
        most=float(alone[~np.isnan(alone)].max(initial=-np.inf)),
        moments=_moments(runs[..., 0], stratum, sizes),
    )


def sums_of(runs: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """Sums of rows ``n R K`` that have the same number: ``count n K``."""
    num_runs, num_rows, width = runs.shape
    if num_runs * width <= _FEW_COLUMNS:
        columns = np.moveaxis(runs, 0, 1).reshape(num_rows, num_runs * width).T
        sums = [np.bincount(index, weights=column, minlength=count) for column in columns]
        return np.stack(sums, axis=1).reshape(count, num_runs, width)
    from scipy.sparse import csr_array

    which = csr_array((np.ones(num_rows), (index, np.arange(num_rows))), shape=(count, num_rows))
    found = np.asarray(which @ np.moveaxis(runs, 0, 1).reshape(num_rows, num_runs * width))
    return found.reshape(count, num_runs, width)


def products(shifts: np.ndarray, group: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """S S: for each two strata the sum over groups of the products of what a group has in both."""
    if not stratum.any():
        return np.array([[shifts @ shifts]])
    from scipy.sparse import csr_array

    table = csr_array((shifts, (group, stratum)))
    return np.asarray((table.T @ table).toarray())


def _left_out(
    sums: np.ndarray, in_strata: np.ndarray, stratum: np.ndarray, total: Total
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of each stratum without each of its groups, and of that group alone: both ``C n``."""
    left, alone = [], []
    step = max(1, _NUMBERS // max(1, sums[0].size))
    for start in range(0, len(sums), step):
        part = slice(start, start + step)
        left.append(total(in_strata[stratum[part]] - sums[part]))
        alone.append(total(sums[part]))
    return np.concatenate(left), np.concatenate(alone)


def _moments(firsts: np.ndarray, stratum: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """S n n: mean over a stratum's rows of the products of runs' numbers ``n R``."""
    found = []
    for number, size in enumerate(sizes):
        mine = firsts[:, stratum == number]
        found.append(mine @ mine.T / size)
    return np.stack(found)


class Combination:
    """A weighted sum of runs' scores, as a mean over strata, with variances that few groups do not understate.

    Per stratum, V is the jackknife's variance. Two of its weaknesses are mended, with ``independent`` the variance if
    all rows were independent, ``worst`` that if each group were all right or all wrong, and
    k = G / max(1, kurtosis - 2) the number of groups that V rests on (those of the shifts, whose kurtosis is 3 or less
    where many groups carry it):

        V < independent:  (5 independent + (G - 1) V) / (G + 4)
        then              V + min(1, 4 / k^2) min(1, max(0, kurtosis - 3)) (worst - V), if worst > V

    since V may be small by chance, and since what a few wrong groups show says little of how large such a group can be.
    How independent rows vary is known where they are (0 or 1, 1); elsewhere V is at least the square of half an
    answer's weight.
    """

    def __init__(
        self, found: Clusters, weights: np.ndarray, *, best: float, is_share: bool, bounded: bool = True
    ) -> None:
        self.found, self.best = found, best
        values = found.values @ weights  # S
        values = np.where(np.abs(values) > _ROUNDING * best, values, 0.0)
        self.values = np.where(np.abs(values - best) > _ROUNDING * best, values, best)
        shifts = found.shifts @ weights
        covariance = products(shifts, found.group, found.stratum)
        raw = np.maximum(np.diagonal(covariance), 0.0)
        self.is_inside = bounded and found.least >= -_ROUNDING and found.most <= best * (1 + _ROUNDING)

        # Variance of one answer: of shares what it is, of other scores what it is if all answers were 0 or the best.
        size = np.abs(self.values)
        self.square = np.einsum("i,sij,j->s", weights, found.moments, weights) if is_share else best * size
        of_one = self.square - self.values**2
        self.of_one = np.where(of_one > _ROUNDING * best**2, of_one, 0.0)
        self.is_equal = np.maximum(raw, self.of_one if is_share else 0.0) <= NOTHING
        self.is_binomial = is_share and len(weights) == 1 and found.is_single
        if self.is_binomial:  # nothing is to be estimated beside the share itself
            self.variances = self.of_one / found.sizes
        elif is_share:
            self.variances = _believed(found, shifts, raw, self.of_one, self.of_one / found.sizes)
        else:
            worst = self.of_one if self.is_inside else np.zeros_like(raw)
            least = (best / (2 * found.sizes)) ** 2
            believed = _believed(found, shifts, np.maximum(raw, least), worst, np.zeros_like(raw))
            self.variances = np.where(self.is_equal, raw, believed)
        self.correlation = self._correlation(covariance, raw)

    @property
    def value(self) -> float:
        """The mean over strata."""
        return float(self.values.mean())

    def variance(self, variances: np.ndarray) -> float:
        """Of the mean over strata, from that of each (S): sum over i, j of r_ij sqrt(V_i V_j) / S^2.

        The correlations r are those that shared groups make. A variance below that of strata that share nothing is
        drawn to it, as one below that of independent rows is.
        """
        errors = np.sqrt(variances)
        alone, found = float(variances.sum()), float(errors @ self.correlation @ errors)
        if found < alone:
            found = _drawn_up(found, alone, self.found.effective_in_all)
        return max(found, 0.0) / len(variances) ** 2

    def of_scores(self) -> np.ndarray:
        """S: variances of scores from 0 to the best one, also of strata in which nothing differs.

        Such a stratum is given that of as many all-or-nothing answers as it has groups, with its score drawn to the
        mean over strata by two of them.
        """
        groups = self.found.effective
        share: np.ndarray = np.clip(
            (groups * self.values + 2 * self.value) / (groups + 2) / self.best, 0.0, 1.0
        )
        unknown = self.is_equal | ~self.found.has_spread
        return np.asarray(np.where(unknown, share * (1 - share) / groups * self.best**2, self.variances))

    def freedom(self, variances: np.ndarray) -> float:
        """Degrees of freedom of Student's t: effective groups less one, fewer if small strata decide; at least 1."""
        groups = self.found.effective - 1
        counted = self.found.has_spread & (groups > 0)
        uncertain = float((variances[counted] ** 2 / groups[counted]).sum())
        by_strata = float(variances[counted].sum()) ** 2 / uncertain if uncertain > 0 else np.inf
        return max(1.0, min(self.found.effective_in_all - 1, by_strata))

    def _correlation(self, covariance: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """S S; where two strata show no variance, that of groups which are all of one kind in both."""
        spread = np.sqrt(raw)
        known = raw > NOTHING
        both = np.outer(known, known)
        found = np.zeros_like(covariance)
        np.divide(covariance, np.outer(spread, spread), out=found, where=both)
        overlap = self.found.overlap
        size = np.sqrt(np.diagonal(overlap))
        neither = np.outer(~known & self.found.has_spread, ~known & self.found.has_spread)
        found = np.where(neither, overlap / np.outer(size, size), found)
        np.fill_diagonal(found, 1.0)
        return np.asarray(np.clip(found, -1.0, 1.0))


def _believed(
    found: Clusters, shifts: np.ndarray, raw: np.ndarray, of_one: np.ndarray, independent: np.ndarray
) -> np.ndarray:
    """S: variances, none of them too small by chance."""
    groups = np.bincount(found.stratum, minlength=len(raw))
    fourth = np.bincount(found.stratum, weights=shifts**4, minlength=len(raw))
    kurtosis = groups * 1.0
    np.divide(groups * fourth, raw**2, out=kurtosis, where=raw > NOTHING)
    carried = groups / np.maximum(1.0, kurtosis - 2)
    worst = of_one / found.effective
    variances = np.where(raw < independent, _drawn_up(raw, independent, found.effective), raw)
    doubt = np.minimum(1.0, _DOUBT / carried**2) * np.clip(kurtosis - 3, 0.0, 1.0)
    return np.asarray(variances + doubt * np.maximum(worst - variances, 0.0))


def _drawn_up(found: Any, expected: Any, groups: Any) -> Any:
    """A variance that is smaller than expected, drawn to it by the weight of some groups."""
    return (_WEIGHT_OF_ONE * expected + (groups - 1) * found) / (_WEIGHT_OF_ONE + groups - 1)
