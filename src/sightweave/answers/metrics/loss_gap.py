"""Loss gap: how much likelier the picture makes what the model wrote. Needs no reference.

For an answer a of T tokens (its end included), with and without the picture before the same prompt::

    gap = (log p(a | picture, prompt) - log p(a | prompt)) / T, in nats per token

That is the pointwise mutual information of answer and picture, as the model sees it, per token. Multi-Modal Hallucination
Control by Visual Information Grounding (Favero et al. 2024, arXiv:2403.14003) steers decoding by the same difference.
About 0 means that the words alone gave the answer; it says nothing of whether the answer is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import likelihood_checks, ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Likelihood, Sample


@config
class Config:
    """There is nothing to choose."""

    def build(self) -> LossGap:
        """The metric."""
        return LossGap()


class LossGap:
    """The mean over answers of what a picture adds to their log-likelihood, in nats per token.

    Samples without a picture and those without an answer count nothing.
    """

    is_proportion = False
    unit = "nats per token"
    passes = ("image", "no_image")

    def candidates(self, prediction: str | None, sample: Sample) -> tuple[str, ...]:
        """What was read in the written answer; none where nothing was read."""
        # A sample may be given here without its pictures (it is asked so), so `rows` leaves out those that have none.
        return (prediction,) if prediction else ()

    def rows(self, judged: Sequence[Sequence[Sequence[Likelihood]]], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 2: (gap, 1) for an answer that was judged with and without a picture, else (0, 0).

        Raises:
            DataError: not one judgement per sample and pass, or likelihoods of one answer that cannot be compared: of
                different numbers of tokens, or not finite.
        """
        likelihood_checks.check("loss_gap", judged, samples, self.passes)
        found = np.zeros((len(samples), 2))
        for row, (seen, blind), sample in zip(found, judged, samples, strict=True):
            if seen and blind:
                likelihood_checks.check_count("loss_gap", sample, seen, 1)
                likelihood_checks.check_count("loss_gap", sample, blind, 1)
                row[:] = _gap(seen[0], blind[0], sample), 1
        return found

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean gap, from sums ``... 2``: shape ``...``; NaN where no answer was judged twice."""
        return ratios.mean(sums)


def _gap(seen: Likelihood, blind: Likelihood, sample: Sample) -> float:
    if seen.tokens != blind.tokens:
        raise DataError(
            f"loss_gap: the answer to sample {sample.id!r} has {seen.tokens} token(s) with the image and "
            f"{blind.tokens} without it; both passes must score the same tokens."
        )
    gap = seen.per_token - blind.per_token
    if not math.isfinite(gap):
        raise DataError(
            f"loss_gap: the answer to sample {sample.id!r} has log-likelihood {seen.logprob} with the image and "
            f"{blind.logprob} without it; the gap needs two finite numbers. Remove this metric for models whose answers "
            "can have zero probability."
        )
    return gap
