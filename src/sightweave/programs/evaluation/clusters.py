"""Variance of scores between groups: the delete-one-group jackknife, stratum by stratum.

Several questions share an image, so the variance is over groups, not over questions. Leaving out one group at a time
gives the variance of any metric whose rows add up, and the covariance of strata (question types) that share groups
(Quenouille 1956; Tukey 1958; for surveys: Wolter, Introduction to Variance Estimation, 2007, chapter 4). Nothing is
random, so the same rows always give the same numbers.

Shapes: n runs, R rows, K statistics per row, G groups, S strata, C pairs of group and stratum that occur.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Total = Callable[[np.ndarray], np.ndarray]
"""A metric's ``total``: a function from sums ``... K`` to scores ``...``."""
NOTHING = 1e-20
"""Largest variance that counts as zero, because rounding alone may cause it."""
_ROUNDING = 1e-12
"""Largest difference that rounding may cause between equal scores."""
_WEIGHT_OF_ONE = 5
"""Weight, as a number of groups, of the variance for independent rows when the observed variance is smaller."""
_FEW_COLUMNS = 8
"""Maximum number of columns that are added one by one, which is then faster than a sparse matrix."""
_DOUBT = 4.0
"""Strength of the correction for few groups: a variance that rests on k groups moves towards the worst case by this
number / k^2. Chosen by simulation."""
_NUMBERS = 1 << 21
"""Maximum number of values in memory at once while groups are left out (float64: 16 MB)."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """Scores of n runs in S strata, and how much each of G groups changes them."""

    values: np.ndarray
    """Score of each run in each stratum, S n."""
    shifts: np.ndarray
    """Change of the score when a group is left out, C n with a row for each group in each stratum; scaled so that the
    sum of squares over a stratum's groups is the jackknife variance of its score."""
    group: np.ndarray
    """Group number for each row of `shifts`, C."""
    stratum: np.ndarray
    """Stratum number for each row of `shifts`, C."""
    sizes: np.ndarray
    """Number of rows that count in each stratum, S."""
    overlap: np.ndarray
    """For each pair of strata, the sum over groups of the products of their shares of the rows of both; S S."""
    has_spread: np.ndarray
    """Whether each stratum has two or more groups, and a score without each of them; bool S."""
    least: float
    """Lowest score of a single group."""
    most: float
    """Highest score of a single group."""
    moments: np.ndarray
    """Mean over rows of the products of the runs' first numbers, S n n; a variance if rows are (value, 1)."""

    @property
    def effective(self) -> np.ndarray:
        """The effective number of groups in each stratum, S.

        This is the number of equally large groups with the same uncertainty, (sum m)^2 / sum m^2 (Kish 1965).
        """
        return 1 / np.diagonal(self.overlap)

    @property
    def effective_in_all(self) -> float:
        """The effective number of groups of the mean over strata; see `effective`."""
        return float(len(self.overlap) ** 2 / self.overlap.sum())

    @property
    def is_single(self) -> bool:
        """Whether each group has only one row."""
        return int(self.sizes.sum()) == int(self.group.max()) + 1

    def of_groups(self) -> np.ndarray:
        """How much leaving out each group changes the mean over strata, G n."""
        found = np.zeros((int(self.group.max()) + 1, self.shifts.shape[1]))

        for run, column in enumerate(self.shifts.T):
            found[:, run] = np.bincount(self.group, weights=column, minlength=len(found))
        return found / len(self.values)


def numbered(names: Sequence[object] | np.ndarray) -> np.ndarray:
    """Numbers the distinct names from 0 in sorted order; integer arrays are faster than texts."""
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
    """Leaves out each group in turn to find its influence on the scores; returns None if no row counts.

    Args:
        runs: n R K, rows of a metric for each run on the same samples. Rows that are 0 in all runs do not count.
        groups: R names of independent groups, such as images.
        total: The metric's total.
        strata: R names; scores are per stratum, and strata without a score are left out.
    """
    # Keep only rows that count, in strata that have a score.
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

    # Use one cell for each group in each stratum, since leaving out a group changes only its own strata.
    num_strata = int(stratum.max()) + 1
    cells, of_cell, rows_in = np.unique(group * num_strata + stratum, return_inverse=True, return_counts=True)
    cell_group, cell_stratum = np.divmod(cells, num_strata)
    in_strata = sums_of(runs, stratum, num_strata)
    left, alone = _left_out(sums_of(runs, of_cell, len(cells)), in_strata, cell_stratum, total)

    # The jackknife variance is (G - 1) / G times the sum of squares about the mean over groups.
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
    """Sums of the rows ``n R K`` that have the same index, as ``count n K``."""
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
    """For each pair of strata, the sum over groups of the products of a group's shifts in both; S S."""
    if not stratum.any():
        return np.array([[shifts @ shifts]])
    from scipy.sparse import csr_array

    table = csr_array((shifts, (group, stratum)))
    return np.asarray((table.T @ table).toarray())


def _left_out(
    sums: np.ndarray, in_strata: np.ndarray, stratum: np.ndarray, total: Total
) -> tuple[np.ndarray, np.ndarray]:
    """The scores of each stratum without each of its groups, and the scores of each group alone; both ``C n``."""
    left, alone = [], []
    step = max(1, _NUMBERS // max(1, sums[0].size))

    for start in range(0, len(sums), step):
        part = slice(start, start + step)
        left.append(total(in_strata[stratum[part]] - sums[part]))
        alone.append(total(sums[part]))

    return np.concatenate(left), np.concatenate(alone)


def _moments(firsts: np.ndarray, stratum: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """For each stratum, the mean over its rows of the products of the runs' numbers ``n R``; S n n."""
    found = []
    for number, size in enumerate(sizes):
        mine = firsts[:, stratum == number]
        found.append(mine @ mine.T / size)
    return np.stack(found)


class Combination:
    """A weighted sum of the runs' scores, as a mean over strata, with variances that are valid for few groups as well.

    V is the jackknife variance of a stratum. Two of its weaknesses are corrected. Let ``independent`` be the variance
    if all rows were independent, ``worst`` that if each group were all right or all wrong, and k = G / max(1, kurtosis
    - 2) the number of groups that V rests on (the kurtosis of the shifts is 3 or less if many groups contribute):

        V < independent:  (5 independent + (G - 1) V) / (G + 4)
        then              V + min(1, 4 / k^2) min(1, max(0, kurtosis - 3)) (worst - V), if worst > V

    The corrections are needed because V may be too small by chance, and because a few wrong groups say little about how
    large such a group can be. The variance of independent rows is known if they are (0 or 1, 1); for other rows V is at
    least the square of half an answer's weight.
    """

    def __init__(
        self, found: Clusters, weights: np.ndarray, *, best: float, is_share: bool, bounded: bool = True
    ) -> None:
        self.found, self.best = found, best

        # Round values that differ only by rounding errors from 0 or from the best score.
        values = found.values @ weights  # S
        values = np.where(np.abs(values) > _ROUNDING * best, values, 0.0)
        self.values = np.where(np.abs(values - best) > _ROUNDING * best, values, best)

        # The jackknife variances and covariances.
        shifts = found.shifts @ weights
        covariance = products(shifts, found.group, found.stratum)
        raw = np.maximum(np.diagonal(covariance), 0.0)
        self.is_inside = bounded and found.least >= -_ROUNDING and found.most <= best * (1 + _ROUNDING)

        # The variance of one answer: exact for shares; for other scores, as if all answers were 0 or the best.
        size = np.abs(self.values)
        self.square = np.einsum("i,sij,j->s", weights, found.moments, weights) if is_share else best * size
        of_one = self.square - self.values**2
        self.of_one = np.where(of_one > _ROUNDING * best**2, of_one, 0.0)
        self.is_equal = np.maximum(raw, self.of_one if is_share else 0.0) <= NOTHING

        # Correct variances that are too small by chance.
        self.is_binomial = is_share and len(weights) == 1 and found.is_single
        if self.is_binomial:  # the share itself determines the variance
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
        """The weighted score, as a mean over strata."""
        return float(self.values.mean())

    def variance(self, variances: np.ndarray) -> float:
        """The variance of the mean over strata, from those of each (S): sum over i, j of r_ij sqrt(V_i V_j) / S^2.

        The correlations r come from shared groups. A variance below that of independent strata is moved towards it, as
        is one below that of independent rows.
        """
        errors = np.sqrt(variances)
        alone, found = float(variances.sum()), float(errors @ self.correlation @ errors)
        if found < alone:
            found = _drawn_up(found, alone, self.found.effective_in_all)
        return max(found, 0.0) / len(variances) ** 2

    def of_scores(self) -> np.ndarray:
        """The variance of each stratum's score (S), for scores from 0 to the maximum.

        A stratum whose scores are all equal gets the binomial variance for its number of groups, after its score is
        shrunk towards the overall mean, which has the weight of two groups.
        """
        groups = self.found.effective
        share: np.ndarray = np.clip(
            (groups * self.values + 2 * self.value) / (groups + 2) / self.best, 0.0, 1.0
        )
        unknown = self.is_equal | ~self.found.has_spread
        return np.asarray(np.where(unknown, share * (1 - share) / groups * self.best**2, self.variances))

    def freedom(self, variances: np.ndarray) -> float:
        """Degrees of freedom of Student's t: effective groups minus one, fewer if small strata dominate; at least 1."""
        groups = self.found.effective - 1
        counted = self.found.has_spread & (groups > 0)
        uncertain = float((variances[counted] ** 2 / groups[counted]).sum())
        by_strata = float(variances[counted].sum()) ** 2 / uncertain if uncertain > 0 else np.inf
        return max(1.0, min(self.found.effective_in_all - 1, by_strata))

    def _correlation(self, covariance: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Correlations of strata, S S.

        Two strata without variance get the correlation that groups which are all right or all wrong would have.
        """
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
    """Variances of strata, S, raised if they are too small by chance; see `Combination`."""
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
    """Moves a variance that is smaller than expected towards the expected one, by the weight of the latter in groups."""
    return (_WEIGHT_OF_ONE * expected + (groups - 1) * found) / (_WEIGHT_OF_ONE + groups - 1)
