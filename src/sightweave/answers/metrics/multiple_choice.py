"""Multiple choice: the option that a generated answer names, by its letter or text, must be the right one.

The setting of MMBench (Liu et al. 2023, arXiv:2307.06281), section 4, without its helper model: an answer that names no
option, or several, counts as unread and is wrong. Letters are A, B, ... in the order of ``Sample.options``. Written
from the paper's description: tools differ in what they accept, and none of them is a reference implementation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import named_options, ratios
from sightweave.core.config import config
from sightweave.core.types import Sample


@config
class Config:
    """This metric has no options."""

    def build(self) -> MultipleChoice:
        """Builds the metric."""
        return MultipleChoice()


class MultipleChoice:
    """The share of answers that name a right option."""

    is_proportion = True

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 2: (1 if right else 0, 1).

        A missing answer (None) and one that does not name a single option are wrong. A reference is either the text of
        an option or its letter.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has no reference, no options, more
                than 26 options, or a reference that is not one of them.
        """
        ratios.check("multiple_choice", predictions, samples)

        right = []
        for answer, sample in zip(predictions, samples, strict=True):
            right.append(named_options.is_right("multiple_choice", answer, sample))

        return ratios.with_ones(right)

    def reads(self, answer: str, sample: Sample) -> bool:
        """Whether an answer names a single option."""
        return named_options.choose(answer, sample.options) is not None

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right answers (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)
