"""Circular multiple choice: a question counts only if it is answered right with its options in every rotation.

MMBench: Is Your Multi-modal Model an All-around Player? (Liu et al. 2023, arXiv:2307.06281), section 4: CircularEval.
Whoever always says A gets 0, where single questions give it its share of chance. Written from its description; answers
are read as `multiple_choice` reads them, without the paper's helper model.
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
"""Which question a sample asks: all of one value are its rotations."""


@config
class Config:
    """There is nothing to choose."""

    def build(self) -> CircularChoice:
        """The metric."""
        return CircularChoice()


class CircularChoice:
    """The share of questions that are answered right in each rotation of their options.

    The samples of a question have one ``tags["circle"]`` and each its own order of ``options``. Samples without the tag
    add nothing. The result of a question stands in the row of its last sample, so that each question is one trial.
    """

    is_proportion = True

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 2: (1 if all answers to the question are right else 0, 1) in its last row, else (0, 0).

        No answer (None) and one that names no single option are wrong.

        Raises:
            DataError: not one prediction per sample, a sample without a reference, no sample with the tag, a question
                whose samples are not each rotation of its options once, or options and references as in
                `multiple_choice`.
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
        _check([[samples[number] for number in numbers] for numbers in circles.values()])
        found = np.zeros((len(samples), 2))
        for numbers in circles.values():
            right = [named_options.is_right("circular_choice", predictions[n], samples[n]) for n in numbers]
            found[numbers[-1]] = all(right), 1
        return found

    def reads(self, answer: str, sample: Sample) -> bool:
        """Whether an answer names a single option."""
        return named_options.choose(answer, sample.options) is not None

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share that is right, from sums ``... 2``: shape ``...``; NaN where no question counts."""
        return ratios.mean(sums)


def _check(circles: Sequence[Sequence[Sample]]) -> None:
    """Refuses questions of which rotations are missing: with fewer, being always right is easier."""
    broken = [circle for circle in circles if not _is_whole(circle)]
    if broken:
        first = broken[0][0]
        raise DataError(
            f"circular_choice: {len(broken)} of {len(circles)} questions are not asked once for each rotation of their "
            f"options, the first being {first.tags[TAG]!r} with {len(broken[0])} sample(s) and {len(first.options)} "
            "options; ask all rotations, or use multiple_choice."
        )


def _is_whole(circle: Sequence[Sample]) -> bool:
    options = circle[0].options
    rotations = Counter(options[n:] + options[:n] for n in range(len(options)))
    return not options or Counter(sample.options for sample in circle) == rotations
