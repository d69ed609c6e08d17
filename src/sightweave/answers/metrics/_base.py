"""What every metric gives: numbers per row that can be added, and one number from their sums.

Sums can be resampled thousands of times in a moment, which corpus scores need for their intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from sightweave.core.types import Likelihood, Sample


class Metric(Protocol):
    """Predictions and samples in, sufficient statistics out."""

    is_proportion: bool
    """Whether a row is (1 or 0, 1), so that the total is a share of right answers and has the interval of one."""

    # A metric may also have ``less_is_better = True``; ``best``, the score of a perfect answer where that is not 1;
    # ``unit``, where the score is no share that readers want in per cent (such as "nats per token");
    # ``totals(sums) -> {name: number}``, further numbers of the same sums; ``signature(samples) -> str``, which says
    # what variant was computed; and ``reads(answer, sample) -> bool``, where answers may say nothing that the metric
    # can read: such answers are not right, and are counted as unread beside the score.

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R K: what each answer adds; None is an answer that could not be parsed."""
        ...

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (0 to 1) of sums ``... K``: shape ``...``; NaN where the sums are of no rows."""
        ...


class LikelihoodMetric(Protocol):
    """A metric of how likely the model finds given texts, not of what it writes; else as `Metric`."""

    is_proportion: bool
    passes: tuple[str, ...]
    """In which passes the texts are judged: ``image`` (the sample as it is), or also names of controls."""

    def candidates(self, prediction: str | None, sample: Sample) -> tuple[str, ...]:
        """The texts to judge as answers to a sample; empty for a sample that does not count.

        Args:
            prediction: What was read in the answer that the model wrote with the picture.
            sample: The sample.
        """
        ...

    def rows(self, judged: Sequence[Sequence[Sequence[Likelihood]]], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R K: what each sample adds.

        Args:
            judged: For each sample and each of `passes` the likelihoods of its candidates, in order; a pass that did
                not ask the sample (it has no picture) gives none.
            samples: The samples.
        """
        ...

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score of sums ``... K``: shape ``...``; NaN where the sums are of no rows."""
        ...
