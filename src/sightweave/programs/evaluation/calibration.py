"""Calibration: whether a model's confidence predicts that its answers are right.

The confidence of an answer is exp(mean log-probability of its tokens), the geometric mean of their probabilities.

On Calibration of Modern Neural Networks (Guo et al. 2017, arXiv:1706.04599) for reliability and calibration error;
Measuring Calibration in Deep Learning (Nixon et al. 2019, arXiv:1904.01685) for bins of equal mass; Selective
Classification for Deep Neural Networks (Geifman and El-Yaniv 2017, arXiv:1705.08500) for risk and coverage. No result
depends on the order of the answers: answers of equal confidence share the mean of their accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sightweave.programs.evaluation.statistics import Estimate, share

BINS = 15
"""Number of bins, as in Guo et al. 2017."""
ERROR_RATE = 0.05
"""Default for the maximum error rate among the given answers."""
_ROUNDING = 1e-6
"""Amount by which single-precision rounding may raise a mean log-probability above 0."""


class Said(Protocol):
    """An answer with a log-probability: a `Prediction`, or an `Answer` of an evaluation."""

    @property
    def logprob(self) -> float | None:
        """Mean natural-log probability per token; None if unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of answers with similar confidence; all values except `count` are from 0 to 1."""

    low: float
    """Lower edge of a bin of equal width (exclusive unless 0), or lowest confidence in a bin of equal mass."""
    high: float
    """Upper edge of a bin of equal width, or highest confidence in a bin of equal mass."""
    count: int
    confidence: float
    """Mean confidence; NaN in an empty bin."""
    accuracy: float
    """Share of right answers; NaN in an empty bin."""


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """The error rate when only the most confident answers are given, for every possible threshold."""

    thresholds: tuple[float, ...]
    """Every confidence that occurs, in descending order; answers at or above a threshold are given."""
    coverage: tuple[float, ...]
    """Share of the questions that are answered, at each threshold."""
    risk: tuple[float, ...]
    """Share of the given answers that are wrong, at each threshold."""
    area: float
    """AURC, the mean risk over the 1, 2, ... most confident answers: 0 is perfect; a random ranking gives the error
    rate."""

    def __post_init__(self) -> None:
        sizes = [len(self.thresholds), len(self.coverage), len(self.risk)]
        if len(set(sizes)) > 1:
            raise ValueError(f"each threshold needs one coverage and one risk (got {sizes})")


@dataclass(frozen=True, slots=True)
class Selection:
    """Coverage and error rate when answers below a confidence threshold are withheld."""

    threshold: float | None
    """Lowest confidence at which answers are given; None if no answer is given."""
    count: int
    """Number of questions."""
    answered: int
    coverage: Estimate
    """Share of the questions that are answered."""
    error: Estimate | None
    """Share of the given answers that are wrong; None if no answer is given. Both intervals are valid only for a
    threshold that was not chosen on these answers; otherwise the error is estimated too low."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """All measures of this module; values are from 0 to 1, and lower is better for errors."""

    count: int
    accuracy: float
    confidence: float
    """Mean confidence; the model is overconfident if this is above the accuracy."""
    ece_equal_mass: float
    ece_equal_width: float
    brier: float
    bins: tuple[Bin, ...]
    """Bins of equal mass."""
    curve: RiskCoverage
    selection: Selection


def confidences(said: Sequence[Said]) -> np.ndarray:
    """The confidence exp(mean log-probability) of each answer, float64 R with values from 0 to 1.

    Raises:
        ValueError: a log-probability is unknown, above 0 or not a number.
    """
    logprobs: np.ndarray = np.array([np.nan if one.logprob is None else one.logprob for one in said])
    bad = np.flatnonzero(~(logprobs <= _ROUNDING))
    if len(bad):
        raise ValueError(
            f"calibration: answer {bad[0]} of {len(logprobs)} has a mean log-probability of {logprobs[bad[0]]}; "
            "it must be 0 or less."
        )
    shares: np.ndarray = np.exp(np.minimum(logprobs, 0.0))
    return shares


def calibration(
    confidence: np.ndarray,
    right: np.ndarray,
    *,
    bins: int = BINS,
    error_rate: float = ERROR_RATE,
    groups: Sequence[str] | None = None,
) -> Calibration:
    """Computes all measures of this module.

    Args:
        confidence: R values from 0 to 1.
        right: bool R, whether each answer is right.
        bins: Number of bins.
        error_rate: Maximum share of the given answers that may be wrong.
        groups: R names of independent groups, such as images; by default each answer is its own group.

    Raises:
        ValueError: there are no answers, there is not exactly one confidence and group per answer, or values are
            outside their ranges.
    """
    confidence, right = _checked(confidence, right)
    mass = reliability(confidence, right, bins=bins)
    return Calibration(
        count=len(right),
        accuracy=float(right.mean()),
        confidence=float(confidence.mean()),
        ece_equal_mass=expected_error(mass),
        ece_equal_width=expected_error(reliability(confidence, right, bins=bins, equal_mass=False)),
        brier=brier(confidence, right),
        bins=mass,
        curve=risk_coverage(confidence, right),
        selection=at_error_rate(confidence, right, error_rate, groups=groups),
    )


def reliability(
    confidence: np.ndarray, right: np.ndarray, *, bins: int = BINS, equal_mass: bool = True
) -> tuple[Bin, ...]:
    """Confidence and accuracy in bins of ascending confidence.

    With equal mass, the sorted answers are split into `bins` parts whose sizes differ by at most one (fewer parts if
    there are fewer answers). With equal width, bin b contains confidences in (b / bins, (b + 1) / bins], and the first
    bin also contains 0; bins may be empty.

    Raises:
        ValueError: as raised by `calibration`, or `bins` is below 1.
    """
    confidence, right = _checked(confidence, right)
    if bins < 1:
        raise ValueError(f"calibration: bins must be 1 or more (got {bins}).")

    order = np.argsort(confidence, kind="stable")
    confidence, right = confidence[order], _shared(confidence[order], right[order])
    found = []
    if equal_mass:
        for part in np.array_split(np.arange(len(right)), min(bins, len(right))):
            found.append(_bin(confidence[part], right[part], confidence[part[0]], confidence[part[-1]]))
        return tuple(found)

    edges = np.arange(bins + 1) / bins
    cuts = [0, *np.searchsorted(confidence, edges[1:-1], side="right"), len(right)]
    for n in range(bins):
        inside = slice(cuts[n], cuts[n + 1])
        found.append(_bin(confidence[inside], right[inside], edges[n], edges[n + 1]))
    return tuple(found)


def expected_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the sum of count / all * |accuracy - confidence| over all non-empty bins."""
    error, count = 0.0, 0
    for one in bins:
        if one.count:
            error += one.count * abs(one.accuracy - one.confidence)
            count += one.count
    return error / count


def brier(confidence: np.ndarray, right: np.ndarray) -> float:
    """Brier score: the mean of (confidence - right)^2, where right is 1 or 0 (Brier 1950).

    Raises:
        ValueError: as raised by `calibration`.
    """
    confidence, right = _checked(confidence, right)
    return float(np.mean((confidence - right) ** 2))


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> RiskCoverage:
    """Risk and coverage at every threshold, and the area under the curve.

    Raises:
        ValueError: as raised by `calibration`.
    """
    confidence, right = _checked(confidence, right)
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], right[order]
    given = np.arange(1, len(right) + 1)

    # Answers of equal confidence have no order, so the area is the mean over all of their possible orders.
    shared = np.cumsum(1 - _shared(confidence, right)) / given
    risk = np.cumsum(1 - right) / given
    last = np.flatnonzero(np.append(confidence[1:] != confidence[:-1], True))

    return RiskCoverage(
        thresholds=tuple(confidence[last].tolist()),
        coverage=tuple((given[last] / len(right)).tolist()),
        risk=tuple(risk[last].tolist()),
        area=float(shared.mean()),
    )


def thinned(curve: RiskCoverage, points: int) -> RiskCoverage:
    """The curve at no more than `points` of its thresholds, evenly spaced and including both ends.

    The area is unchanged.

    Raises:
        ValueError: `points` is below 2.
    """
    if points < 2:
        raise ValueError(f"calibration: a curve needs 2 points or more (got {points}).")

    count = len(curve.thresholds)
    kept = np.unique(np.linspace(0, count - 1, min(points, count)).round().astype(int)).tolist()
    thresholds, coverage, risk = [], [], []
    for n in kept:
        thresholds.append(curve.thresholds[n])
        coverage.append(curve.coverage[n])
        risk.append(curve.risk[n])
    return RiskCoverage(tuple(thresholds), tuple(coverage), tuple(risk), curve.area)


def at_error_rate(
    confidence: np.ndarray,
    right: np.ndarray,
    error_rate: float = ERROR_RATE,
    *,
    groups: Sequence[str] | None = None,
) -> Selection:
    """Coverage and error at the lowest threshold at which at most this share of the given answers is wrong.

    The threshold is fitted to these answers, so its error rate on them underestimates the one on other answers: choose
    the threshold on one half of the data and measure it with `at_threshold` on the other.

    Raises:
        ValueError: as raised by `calibration`, or `error_rate` is not from 0 to 1.
    """
    if not 0 <= error_rate <= 1:
        raise ValueError(f"calibration: error_rate must be from 0 to 1 (got {error_rate}).")

    curve = risk_coverage(confidence, right)
    fit = [t for t, risk in zip(curve.thresholds, curve.risk, strict=True) if risk <= error_rate]
    return at_threshold(confidence, right, min(fit, default=float("inf")), groups=groups)


def at_threshold(
    confidence: np.ndarray, right: np.ndarray, threshold: float, *, groups: Sequence[str] | None = None
) -> Selection:
    """Coverage and error if only answers with at least this confidence are given; `groups` as in `calibration`.

    Raises:
        ValueError: as raised by `calibration`.
    """
    confidence, right = _checked(confidence, right)
    names = np.arange(len(right)) if groups is None else np.asarray(groups)
    if len(names) != len(right):
        raise ValueError(f"calibration: {len(names)} groups for {len(right)} answers; give one for each.")

    chosen = confidence >= threshold
    answered = int(chosen.sum())
    return Selection(
        threshold=float(threshold) if answered else None,
        count=len(right),
        answered=answered,
        coverage=share(chosen, names),
        error=share(1 - right[chosen], names[chosen]) if answered else None,
    )


def _checked(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checks both arrays and converts them to float64 R.

    Raises:
        ValueError: the shapes differ, there are no answers, or values are outside their ranges.
    """
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if confidence.ndim != 1 or confidence.shape != right.shape or not len(right):
        raise ValueError(
            f"calibration: confidences of shape {confidence.shape} and answers of shape {right.shape}; "
            "give one confidence for each answer, and at least one."
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(
            f"calibration: confidences must be from 0 to 1 (got {confidence.min()} to {confidence.max()})."
        )
    if not np.isin(right, (0, 1)).all():
        raise ValueError(
            "calibration: answers must be right (1) or wrong (0); graded scores have no calibration."
        )
    return confidence, right


def _shared(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """For each sorted answer, the mean of `right` over all answers with the same confidence; float R."""
    _, index, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(index, weights=right) / counts)[index])


def _bin(confidence: np.ndarray, right: np.ndarray, low: float, high: float) -> Bin:
    if not len(right):
        return Bin(float(low), float(high), 0, float("nan"), float("nan"))
    return Bin(float(low), float(high), len(right), float(confidence.mean()), float(right.mean()))
