"""Judgements: one for each sample and pass, and all of them numbers."""

from __future__ import annotations

import math

import pytest

from sightweave.answers.scoring import likelihood_checks
from sightweave.core.errors import DataError
from sightweave.core.types import Likelihood, Sample

SAMPLE = Sample(id="s1", task="vqa", parts=())
ONE = Likelihood(-1.0, 2)


def test_judgements_that_fit_pass() -> None:
    likelihood_checks.check("m", [[[ONE], []]], [SAMPLE], ("image", "no_image"))
    likelihood_checks.check(
        "m", [[[Likelihood(-math.inf, 1)]]], [SAMPLE], ("image",)
    )  # impossible is a judgement
    likelihood_checks.check_count("m", SAMPLE, [ONE, ONE], 2)


def test_judgements_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"m: 0 likelihood list\(s\) for 1 sample\(s\)"):
        likelihood_checks.check("m", [], [SAMPLE], ("image",))
    with pytest.raises(
        DataError, match=r"m: sample 's1' was scored in 1 pass\(es\), but 2 are compared \(a, b\)"
    ):
        likelihood_checks.check("m", [[[ONE]]], [SAMPLE], ("a", "b"))
    with pytest.raises(DataError, match=r"m: the likelihoods of 1 sample\(s\) are no number \(NaN\).*'s1'"):
        likelihood_checks.check("m", [[[Likelihood(math.nan, 1)]]], [SAMPLE], ("image",))
    with pytest.raises(DataError, match=r"m: 1 likelihood\(s\) for 2 candidate\(s\) of sample 's1'"):
        likelihood_checks.check_count("m", SAMPLE, [ONE], 2)
