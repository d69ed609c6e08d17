"""Calibration against worked numbers, scikit-learn and slow, obvious versions of itself."""

from itertools import permutations

import numpy as np
import pytest
import scipy.stats
import sklearn.calibration
import sklearn.metrics

from sightweave.core.types import Prediction
from sightweave.programs.evaluation import calibration
from sightweave.programs.evaluation.scores import Answer
from sightweave.programs.evaluation.statistics import wilson


def drawn(count: int = 1000, seed: int = 0, digits: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and answers that are right a little less often than these say."""
    rng = np.random.default_rng(seed)
    confidence = np.round(rng.beta(3, 2, count), digits)
    return confidence, rng.random(count) < confidence**1.3


def test_the_confidence_is_the_geometric_mean_of_the_tokens_probabilities():
    mean = float(np.mean(np.log([0.5, 0.25, 0.125])))
    said = [
        Prediction("a red mouse", logprob=mean),
        Answer(text="", parsed=None, right=False, logprob=-1e9, finish="stop", image=""),
    ]
    assert calibration.confidences(said) == pytest.approx([0.25, 0])
    assert calibration.confidences([Prediction("a", logprob=1e-8)]).tolist() == [1.0]
    assert calibration.confidences([]).shape == (0,)


@pytest.mark.parametrize("logprob", [0.1, float("nan"), None])
def test_what_is_no_log_probability_is_refused(logprob):
    with pytest.raises(ValueError, match=r"answer 1 of 2 has a mean log-probability of .* must be 0 or less"):
        calibration.confidences([Prediction("a", logprob=0.0), Prediction("b", logprob=logprob)])


def test_a_worked_reliability_of_equal_mass():
    bins = calibration.reliability(np.array([0.9, 0.1, 0.8, 0.3, 0.2]), np.array([1, 0, 0, 1, 0]), bins=2)
    assert [(b.low, b.high, b.count) for b in bins] == [(0.1, 0.3, 3), (0.8, 0.9, 2)]
    assert [b.confidence for b in bins] == pytest.approx([0.2, 0.85])
    assert [b.accuracy for b in bins] == pytest.approx([1 / 3, 0.5])
    assert calibration.expected_error(bins) == pytest.approx((3 * (1 / 3 - 0.2) + 2 * 0.35) / 5)


def test_bins_of_equal_width_hold_their_upper_end():
    edges = np.arange(6) / 5
    bins = calibration.reliability(edges, np.ones(6), bins=5, equal_mass=False)
    assert [b.count for b in bins] == [2, 1, 1, 1, 1]
    assert [b.high for b in bins] == edges[1:].tolist()
    hollow = calibration.reliability(np.array([0.9]), np.array([1]), bins=5, equal_mass=False)
    assert [b.count for b in hollow] == [0, 0, 0, 0, 1]
    assert np.isnan(hollow[0].accuracy)
    assert calibration.expected_error(hollow) == pytest.approx(0.1)


def test_bins_of_equal_width_and_the_brier_score_are_scikit_learns():
    confidence, right = drawn()
    bins = calibration.reliability(confidence, right, bins=15, equal_mass=False)
    accuracy, mean = sklearn.calibration.calibration_curve(right, confidence, n_bins=15)
    full = [b for b in bins if b.count]
    assert [b.accuracy for b in full] == pytest.approx(accuracy, abs=1e-12)
    assert [b.confidence for b in full] == pytest.approx(mean, abs=1e-12)
    theirs = sklearn.metrics.brier_score_loss(right, confidence)
    assert calibration.brier(confidence, right) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("count", [1000, 1003, 7])
def test_bins_of_equal_mass_are_as_equal_as_can_be(count):
    confidence, right = drawn(count)
    bins = calibration.reliability(confidence, right)
    sizes = [b.count for b in bins]
    assert len(bins) == min(15, count)
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    order = np.argsort(confidence)
    slow = (
        sum(abs(sum(right[i] - confidence[i] for i in run)) for run in np.array_split(order, len(bins)))
        / count
    )
    assert calibration.expected_error(bins) == pytest.approx(slow, abs=1e-12)


def test_honest_confidence_has_a_small_error_and_bragging_a_large_one():
    confidence, _ = drawn(20_000)
    right = np.random.default_rng(1).random(20_000) < confidence
    honest = calibration.calibration(confidence, right)
    assert honest.ece_equal_mass < 0.012
    assert honest.ece_equal_width < 0.012
    bragging = calibration.calibration(1 - (1 - confidence) / 4, right)
    gap = bragging.confidence - bragging.accuracy
    assert bragging.ece_equal_mass == pytest.approx(gap, abs=1e-6)  # too high everywhere
    assert bragging.ece_equal_width == pytest.approx(gap, abs=1e-6)
    assert bragging.curve.area == pytest.approx(honest.curve.area)  # the ranking is the same


def test_a_worked_curve_of_risk_and_coverage():
    curve = calibration.risk_coverage(np.array([0.6, 0.9, 0.7, 0.8]), np.array([0, 1, 0, 1]))
    assert curve.thresholds == (0.9, 0.8, 0.7, 0.6)
    assert curve.coverage == (0.25, 0.5, 0.75, 1.0)
    assert curve.risk == pytest.approx((0, 0, 1 / 3, 1 / 2))
    assert curve.area == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)


def test_equal_confidences_are_one_threshold_and_the_mean_of_all_orders():
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.2, 0.2])
    right = np.array([1, 0, 1, 1, 0, 1])
    curve = calibration.risk_coverage(confidence, right)
    assert curve.thresholds == (0.9, 0.5, 0.2)
    assert curve.risk == pytest.approx((0, 1 / 4, 2 / 6))
    areas = []
    for order in permutations(range(6)):
        if (np.diff(confidence[list(order)]) <= 0).all():
            wrong = 1 - right[list(order)]
            areas.append(np.mean(np.cumsum(wrong) / np.arange(1, 7)))
    assert len(areas) == 12
    assert curve.area == pytest.approx(np.mean(areas))


def test_a_confidence_that_says_nothing_has_the_error_rate_as_its_area():
    _, right = drawn(500)
    curve = calibration.risk_coverage(np.full(500, 0.5), right)
    assert curve.area == pytest.approx(1 - right.mean())
    assert curve.coverage == (1.0,)


def test_nothing_depends_on_the_order_of_the_answers():
    confidence, right = drawn(300, digits=1)  # many are equal
    there = calibration.calibration(confidence, right)
    order = np.random.default_rng(3).permutation(300)
    back = calibration.calibration(confidence[order], right[order])
    assert len(there.curve.thresholds) <= 11
    for name in ("accuracy", "confidence", "ece_equal_mass", "ece_equal_width", "brier"):
        assert getattr(back, name) == pytest.approx(getattr(there, name), abs=1e-12)
    assert back.curve.area == pytest.approx(there.curve.area, abs=1e-12)
    assert back.curve.risk == there.curve.risk
    assert back.selection == there.selection


def ends(found):
    return found.value, found.low, found.high


def with_t(correct, count):
    """Wilson's interval with Student's t, but where all answers are alike."""
    alike = correct in (0, count)
    return wilson(correct, count, quantile=None if alike else scipy.stats.t.ppf(0.975, count - 1))


@pytest.mark.parametrize("error_rate", [0.0, 0.05, 0.2, 1.0])
def test_the_threshold_is_the_lowest_that_keeps_the_error_rate(error_rate):
    confidence, right = drawn(400, digits=2)
    found = calibration.at_error_rate(confidence, right, error_rate)
    fits = [t for t in set(confidence) if (~right[confidence >= t]).mean() <= error_rate]
    assert found.threshold == min(fits, default=None)
    chosen = confidence >= (np.inf if found.threshold is None else found.threshold)
    assert (found.answered, found.count) == (chosen.sum(), 400)
    assert ends(found.coverage) == pytest.approx(ends(with_t(chosen.sum(), 400)))
    if found.answered:
        assert ends(found.error) == pytest.approx(ends(with_t((~right[chosen]).sum(), chosen.sum())))
        assert found.error.value <= error_rate


def test_no_threshold_is_good_enough_for_a_model_that_is_always_wrong():
    found = calibration.at_error_rate(np.array([0.2, 0.9]), np.array([0, 0]), 0.1)
    assert (found.threshold, found.answered, found.error) == (None, 0, None)
    assert found.coverage.value == 0


def test_a_threshold_of_one_half_is_measured_on_the_other():
    confidence, right = drawn(2000)
    chosen = calibration.at_error_rate(confidence[:1000], right[:1000], 0.25)
    other = calibration.at_threshold(confidence[1000:], right[1000:], chosen.threshold)
    assert other.threshold == chosen.threshold
    assert other.error.low < 0.25 < other.error.high


@pytest.mark.parametrize(
    ("confidence", "right", "words"),
    [
        ([], [], "at least one"),
        ([0.5, 0.5], [1], r"shape \(2,\) and answers of shape \(1,\)"),
        ([1.5], [1], r"from 0 to 1 \(got 1.5 to 1.5\)"),
        ([float("nan")], [1], "from 0 to 1"),
        ([0.5], [0.3], "graded scores have no calibration"),
    ],
)
def test_what_has_no_calibration_is_refused(confidence, right, words):
    for measure in (
        calibration.calibration,
        calibration.brier,
        calibration.risk_coverage,
        calibration.reliability,
    ):
        with pytest.raises(ValueError, match=words):
            measure(np.array(confidence), np.array(right))


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"error_rate must be from 0 to 1 \(got 5\)"):
        calibration.at_error_rate(np.array([0.5]), np.array([1]), 5)
    with pytest.raises(ValueError, match=r"bins must be 1 or more \(got 0\)"):
        calibration.reliability(np.array([0.5]), np.array([1]), bins=0)


def test_a_thinned_curve_keeps_its_ends_and_its_area():
    confidence, right = drawn(2000)
    curve = calibration.risk_coverage(confidence, right)
    few = calibration.thinned(curve, 11)
    assert (len(few.thresholds), few.area) == (11, curve.area)
    assert (few.coverage[0], few.risk[-1]) == (curve.coverage[0], curve.risk[-1])
    assert set(zip(few.coverage, few.risk, strict=True)) <= set(zip(curve.coverage, curve.risk, strict=True))
    assert calibration.thinned(few, 50) == few
    with pytest.raises(ValueError, match="2 points or more"):
        calibration.thinned(curve, 1)
