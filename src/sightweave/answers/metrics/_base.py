"""The interface of every metric: statistics per row that can be added, and a score from their sums.

Sums can be resampled thousands of times in a moment, which corpus scores need for their confidence intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from sightweave.core.types import Likelihood, Sample


class Metric(Protocol):
    """Predictions and samples in, sufficient statistics out."""

    is_proportion: bool
    """Whether a row is (1 or 0, 1), so that the total is a share of right answers with the interval of a proportion."""

    # A metric may also have
    # - ``less_is_better = True``;
    # - ``best``, the score of a perfect answer if that is not 1;
    # - ``unit``, if the score is not a share to be shown in per cent (such as "nats per token");
    # - ``totals(sums) -> {name: number}``, further numbers from the same sums;
    # - ``signature(samples) -> str``, a description of the variant that was computed;
    # - ``reads(answer, sample) -> bool``, if the metric may fail to read an answer. Unread answers are not right, and
    #   their number is reported next to the score.

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R K: the statistics of each answer; None is an answer that could not be parsed."""
        ...

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (0 to 1) from sums ``... K``: shape ``...``; NaN for sums over no rows."""
        ...


class LikelihoodMetric(Protocol):
    """A metric of the likelihood of given texts, not of generated answers; otherwise like `Metric`."""

    is_proportion: bool
    passes: tuple[str, ...]
    """The passes in which the texts are scored: ``image`` (the sample as it is), and any controls by name."""

    def candidates(self, prediction: str | None, sample: Sample) -> tuple[str, ...]:
        """The texts to score as answers to a sample; empty for a sample that does not count.

        Args:
            prediction: The parsed answer that the model generated with the image.
            sample: The sample.
        """
        ...

    def rows(self, judged: Sequence[Sequence[Sequence[Likelihood]]], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R K: the statistics of each sample.

        Args:
            judged: For each sample and each of `passes` the likelihoods of its candidates, in order; empty for a pass
                that does not apply to the sample (it has no image).
            samples: The samples.
        """
        ...

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score from sums ``... K``: shape ``...``; NaN for sums over no rows."""
        ...
