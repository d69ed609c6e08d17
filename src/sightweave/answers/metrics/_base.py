"""The interface of every metric: additive statistics per sample, and a score computed from their sums.

Because rows are only added up, a bootstrap can resample them thousands of times cheaply. Scores of a whole corpus, such
as BLEU, need that for their confidence intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from sightweave.core.types import Likelihood, Sample


class Metric(Protocol):
    """Computes statistics for each prediction, and a score from their sums.

    Shapes: R is the number of samples, K the number of statistics per sample, ``...`` any leading dimensions of the
    sums.
    """

    is_proportion: bool
    """Whether each row is (1 or 0, 1), so that the total is a share of right answers and gets the confidence interval
    of a proportion."""

    # A metric may also have
    # - ``less_is_better = True``, and ``can_be_negative = True`` if such a score can be below 0;
    # - ``best``, the score of a perfect answer if that is not 1;
    # - ``unit``, if the score is not a share to be shown in per cent (such as "nats per token"); such a score has no bounds
    #   unless there is a ``best`` one;
    # - ``totals(sums) -> {name: number}``, further numbers from the same sums;
    # - ``signature(samples) -> str``, a description of the variant that was computed;
    # - ``reads(answer, sample) -> bool``, if the metric may fail to read an answer. Unread answers are not right, and
    #   their number is reported next to the score.

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """The statistics of each answer, float64 R K; None is an answer that could not be parsed."""
        ...

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (0 to 1, shape ``...``) from summed rows (shape ``... K``); NaN for sums over no rows."""
        ...


class LikelihoodMetric(Protocol):
    """A metric on the likelihoods of given texts instead of generated answers; otherwise like `Metric`."""

    is_proportion: bool
    passes: tuple[str, ...]
    """Names of the passes in which the texts are scored: ``image`` (the unchanged sample) and any controls."""

    def candidates(self, prediction: str | None, sample: Sample) -> tuple[str, ...]:
        """The texts to score as answers to a sample; empty if the sample does not count.

        Args:
            prediction: The parsed answer that the model generated with the image; None if it could not be parsed.
            sample: The sample.
        """
        ...

    def rows(self, judged: Sequence[Sequence[Sequence[Likelihood]]], samples: Sequence[Sample]) -> np.ndarray:
        """The statistics of each sample, float64 R K.

        Args:
            judged: For each sample and each of `passes`, the likelihoods of its candidates in order; empty for a pass
                that does not apply to the sample, such as one without the image if there is none.
            samples: The samples.
        """
        ...

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (shape ``...``) from summed rows (shape ``... K``); NaN for sums over no rows."""
        ...


class PictureMetric(Protocol):
    """A metric on images that a writer drew, instead of texts; otherwise like `Metric`.

    It can only be the score of a task whose samples have no references, such as drawings. A metric that needs another
    trained model also has ``judged_by``, the folder of its run, and ``judge``, which the evaluation sets.
    """

    is_proportion: bool
    of_pictures: bool
    """Always True."""

    def rows(self, predictions: Sequence[Any], samples: Sequence[Sample]) -> np.ndarray:
        """The statistics of each image, float64 R K.

        Args:
            predictions: For each sample, a Pillow image or an array uint8 H W 3; None if no image was drawn.
            samples: The samples.
        """
        ...

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (shape ``...``) from summed rows (shape ``... K``); NaN for sums over no rows."""
        ...
