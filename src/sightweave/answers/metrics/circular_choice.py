"""Circular multiple choice: a question counts only if it is answered correctly with every rotation of its options.

MMBench: Is Your Multi-modal Model an All-around Player? (Liu et al. 2023, arXiv:2307.06281), section 4: CircularEval.
A model that always says A scores 0 here, but would be at chance level if each question were asked only once. Written
from its description; answers are read as `multiple_choice` reads them, without the paper's helper model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import named_options, ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

TAG = "circle"
"""Tag of the question that a sample asks: all samples with the same value are its rotations."""


@config
class Config:
    """This metric has no options."""

    def build(self) -> CircularChoice:
        """Builds the metric."""
        return CircularChoice()


class CircularChoice:
    """The share of questions that are answered correctly with every rotation of their options.

    The samples of a question share ``tags["circle"]`` and each has its own order of ``options``. Samples without the tag
    are ignored. The result of a question is in the row of its last sample, so that each question is one trial.
    """

    is_proportion = True

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per sample, float64 R 2: (1 if all answers to the question are right else 0, 1) for its last sample.

        The rows of its other samples are (0, 0). A missing answer (None) and one that does not name a single option are
        wrong.

        Raises:
            DataError: there is not exactly one prediction per sample, a sample has no reference, no sample has the tag,
                the samples of a question are not each rotation of its options once, or options or references are
                invalid, as in `multiple_choice`.
        """
        ratios.check("circular_choice", predictions, samples)

        circles: dict[str, list[int]] = {}
        for number, sample in enumerate(samples):
            if sample.tags.get(TAG):
                circles.setdefault(sample.tags[TAG], []).append(number)

        if samples and not circles:
            raise DataError(
                f"circular_choice: none of {len(samples)} samples has a tag {TAG!r}; each question must be asked once "
                "for each rotation of its options. For questions asked only once use multiple_choice."
            )
        _check_rotations(samples, list(circles.values()))

        rows = np.zeros((len(samples), 2))
        for numbers in circles.values():
            right = [named_options.is_right("circular_choice", predictions[n], samples[n]) for n in numbers]
            rows[numbers[-1]] = all(right), 1

        return rows

    def reads(self, answer: str, sample: Sample) -> bool:
        """Whether an answer names a single option."""
        return named_options.choose(answer, sample.options) is not None

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right questions (shape ``...``) from summed rows (shape ``... 2``); NaN where no question counts."""
        return ratios.mean(sums)


def _check_rotations(samples: Sequence[Sample], circles: Sequence[Sequence[int]]) -> None:
    """Rejects questions with missing rotations, because fewer rotations are easier to answer correctly.

    Raises:
        DataError: a question is not asked once for each rotation of its options.
    """
    incomplete = []
    for numbers in circles:
        if not _is_complete([samples[number].options for number in numbers]):
            incomplete.append(numbers)

    if incomplete:
        first = samples[incomplete[0][0]]
        raise DataError(
            f"circular_choice: {len(incomplete)} of {len(circles)} questions are not asked once for each rotation of their "
            f"options, the first being {first.tags[TAG]!r} with {len(incomplete[0])} sample(s) and {len(first.options)} "
            "options; ask all rotations, or use multiple_choice."
        )


def _is_complete(orders: Sequence[tuple[str, ...]]) -> bool:
    """Whether these orders of the options are exactly the rotations of the first order, each once."""
    options = orders[0]
    rotations = [options[n:] + options[:n] for n in range(len(options))]
    return not options or Counter(orders) == Counter(rotations)
