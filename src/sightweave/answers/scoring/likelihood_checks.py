"""Checks shared by the likelihood metrics: each sample, pass and candidate has a likelihood, and none is NaN."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from sightweave.core.errors import DataError
from sightweave.core.types import Likelihood, Sample

Judged = Sequence[Sequence[Sequence[Likelihood]]]
"""For each sample and pass, the likelihoods of its candidates."""


def check(metric: str, judged: Judged, samples: Sequence[Sample], passes: Sequence[str]) -> None:
    """Checks that there is one list of likelihoods per sample and pass, and that no likelihood is NaN.

    Raises:
        DataError: a list is missing or superfluous, or a likelihood is NaN.
    """
    if len(judged) != len(samples):
        raise DataError(
            f"{metric}: {len(judged)} likelihood list(s) for {len(samples)} sample(s); give one for each, in order."
        )

    for sample, given in zip(samples, judged, strict=True):
        if len(given) != len(passes):
            raise DataError(
                f"{metric}: sample {sample.id!r} was scored in {len(given)} pass(es), but {len(passes)} are compared "
                f"({', '.join(passes)}); give one list for each, empty if the sample was not asked."
            )

    bad = []
    for sample, given in zip(samples, judged, strict=True):
        likelihoods = itertools.chain.from_iterable(given)
        if any(math.isnan(one.logprob) for one in likelihoods):
            bad.append(sample.id)

    if bad:
        raise DataError(
            f"{metric}: the likelihoods of {len(bad)} sample(s) are NaN, the first being {bad[0]!r}; "
            "the model returns NaN logits."
        )


def check_count(metric: str, sample: Sample, given: Sequence[Likelihood], wanted: int) -> None:
    """Checks that there are as many likelihoods as candidates.

    Raises:
        DataError: the numbers differ.
    """
    if len(given) != wanted:
        raise DataError(
            f"{metric}: {len(given)} likelihood(s) for {wanted} candidate(s) of sample {sample.id!r}; "
            "give one for each, in order."
        )
