"""Loss gap: per token, of answers that were judged with and without the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sightweave.answers.metrics import loss_gap
from sightweave.answers.metrics.loss_gap import LossGap
from sightweave.core.errors import DataError
from sightweave.core.types import Likelihood, Sample
from sightweave.programs.evaluation import statistics

SAMPLE = Sample(id="s1", task="captioning", parts=())


def test_by_hand() -> None:
    metric = loss_gap.Config().build()
    judged = [
        [[Likelihood(-1.0, 4)], [Likelihood(-9.0, 4)]],  # 2 nats per token
        [[Likelihood(-3.0, 1)], [Likelihood(-2.0, 1)]],  # the picture made it less likely
        [[Likelihood(-1.0, 2)], []],  # it has no picture to take away
        [[], []],  # nothing was written
    ]
    rows = metric.rows(judged, [SAMPLE] * 4)
    assert rows.tolist() == [[2, 1], [-1, 1], [0, 0], [0, 0]]
    assert metric.total(rows.sum(0)) == 0.5
    assert np.isnan(metric.total(rows[2:].sum(0)))
    assert metric.rows([], []).shape == (0, 2)
    assert (metric.unit, metric.passes) == ("nats per token", ("image", "no_image"))


def test_whoever_does_not_look_has_no_gap_and_sums_can_be_drawn_again() -> None:
    rng = np.random.default_rng(0)
    metric = LossGap()
    alike = [[[Likelihood(x, 3)], [Likelihood(x, 3)]] for x in rng.normal(-5, 1, 40).tolist()]
    assert metric.total(metric.rows(alike, [SAMPLE] * 40).sum(0)) == 0
    looking = [[[Likelihood(x, 2)], [Likelihood(x - 4, 2)]] for x in rng.normal(-5, 1, 40).tolist()]
    rows = metric.rows(looking, [SAMPLE] * 40)
    assert metric.total(rows.sum(0)) == pytest.approx(2)
    gaps = rng.normal(4, 1, 40).tolist()
    uneven = [
        [one, [Likelihood(one[0].logprob - gap, 2)]] for (one, _), gap in zip(looking, gaps, strict=True)
    ]
    rows = metric.rows(uneven, [SAMPLE] * 40)
    found = statistics.score(metric, rows, [str(n % 10) for n in range(40)])
    assert found.low < 2 < found.high < found.low + 0.5


def test_the_written_answer_is_the_candidate() -> None:
    assert LossGap().candidates("a dog", SAMPLE) == ("a dog",)
    assert LossGap().candidates(None, SAMPLE) == LossGap().candidates("", SAMPLE) == ()


def test_what_cannot_be_compared_is_refused() -> None:
    metric = LossGap()
    with pytest.raises(DataError, match=r"'s1' has 2 token\(s\) with the image and 3 without it"):
        metric.rows([[[Likelihood(-1.0, 2)], [Likelihood(-1.0, 3)]]], [SAMPLE])
    for first, second in ((-1.0, -math.inf), (-math.inf, -math.inf)):
        with pytest.raises(DataError, match=r"log-likelihood .* with the image and -inf without"):
            metric.rows([[[Likelihood(first, 1)], [Likelihood(second, 1)]]], [SAMPLE])
    with pytest.raises(DataError, match=r"2 likelihood\(s\) for 1 candidate\(s\)"):
        metric.rows([[[Likelihood(-1.0, 1)] * 2, [Likelihood(-1.0, 1)]]], [SAMPLE])
    with pytest.raises(DataError, match=r"judged in 1 pass\(es\), but 2 are compared \(image, no_image\)"):
        metric.rows([[[Likelihood(-1.0, 1)]]], [SAMPLE])
