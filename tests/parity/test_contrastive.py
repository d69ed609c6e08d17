"""Against CoMMuTE's own script, which is given perplexities: one pair of translations at a time."""

from __future__ import annotations

import numpy as np
from parity._golden import assert_equal, golden

from sightweave.answers.metrics import contrastive
from sightweave.core.types import Likelihood, Sample


def test_contrastive_accuracy_is_the_scripts() -> None:
    cases = golden("contrastive")["cases"]
    assert len(cases) == 2200
    samples = [
        Sample(id=str(n), task="translation", parts=(), references=("right",), tags={"contrast": "wrong"})
        for n in range(len(cases))
    ]
    judged = [[[Likelihood(float(a), n), Likelihood(float(b), m)]] for a, n, b, m, _ in cases]
    metric = contrastive.Config().build()
    rows = metric.rows(judged, samples)
    np.testing.assert_array_equal(rows[:, 1], 1)
    assert_equal(metric.total(rows), [case[4] for case in cases], cases)
