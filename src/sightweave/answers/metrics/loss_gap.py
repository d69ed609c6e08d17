"""Loss gap: how much more likely the image makes the generated answer. Needs no reference.

For an answer a of T tokens (including the end token), with and without the image before the same prompt::

    gap = (log p(a | image, prompt) - log p(a | prompt)) / T, in nats per token

This is the model's pointwise mutual information of answer and image, per token. Multi-Modal Hallucination Control by
Visual Information Grounding (Favero et al. 2024, arXiv:2403.14003) steers decoding by the same difference. A gap of
about 0 means that the text alone determined the answer; it does not show whether the answer is right.
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
    """This metric has no options."""

    def build(self) -> LossGap:
        """Builds the metric."""
        return LossGap()


class LossGap:
    """The mean over answers of how much the image adds to their log-likelihood, in nats per token.

    Samples without an image and those without an answer are ignored.
    """

    is_proportion = False
    unit = "nats per token"
    passes = ("image", "no_image")

    def candidates(self, prediction: str | None, sample: Sample) -> tuple[str, ...]:
        """The parsed answer; empty if nothing could be parsed."""
        # `sample` may come without its images (for the pass without them), so samples without images are left out in
        # `rows`.
        return (prediction,) if prediction else ()

    def rows(self, judged: Sequence[Sequence[Sequence[Likelihood]]], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 2: (gap, 1) if it was scored with and without an image, else (0, 0).

        Raises:
            DataError: there is not one list of likelihoods per sample and pass, or the likelihoods of an answer cannot
                be compared, because they have different numbers of tokens or are not finite.
        """
        likelihood_checks.check("loss_gap", judged, samples, self.passes)

        rows = np.zeros((len(samples), 2))
        for row, (seen, blind), sample in zip(rows, judged, samples, strict=True):
            if seen and blind:
                likelihood_checks.check_count("loss_gap", sample, seen, 1)
                likelihood_checks.check_count("loss_gap", sample, blind, 1)
                row[:] = _gap(seen[0], blind[0], sample), 1

        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean gap (shape ``...``) from summed rows (shape ``... 2``); NaN where no answer was scored in both passes."""
        return ratios.mean(sums)


def _gap(seen: Likelihood, blind: Likelihood, sample: Sample) -> float:
    """The gap of one answer, in nats per token.

    Raises:
        DataError: the passes scored different numbers of tokens, or the gap is not finite.
    """
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
