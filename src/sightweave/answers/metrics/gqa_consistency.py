"""GQA's consistency: for each right answer, the share of the questions it entails that are also answered correctly.

GQA: A New Dataset for Real-World Visual Reasoning (Hudson and Manning 2019, arXiv:1902.09506), section 4.4.
The tag ``entailed`` holds the ids of those questions, separated by spaces. Published numbers start from the balanced
questions only; the tag ``balanced`` is ``false`` on the others. Case and white space are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

TAG = "entailed"
"""Tag with the ids of the questions whose answers follow from the answer to this question."""
BALANCED = "balanced"
"""Tag that is ``false`` on questions outside the balanced set. They may be entailed, but the mean over questions leaves
them out."""


@config
class Config:
    """Options of GQA's consistency."""

    complete: bool = True
    """Whether every entailed question must be among the samples, as published numbers require. If not, absent questions
    are left out of the means, as are questions whose entailed questions are all absent."""

    def build(self) -> GqaConsistency:
        """Builds the metric."""
        return GqaConsistency(complete=self.complete)


class GqaConsistency:
    """The mean, over right answers that entail others, of the share of right answers among the entailed questions.

    A question does not entail itself. Entailed questions are looked up among the samples of the same call.

    Args:
        complete: Whether every entailed question must be among the samples.
    """

    is_proportion = False

    def __init__(self, *, complete: bool = True) -> None:
        self.complete = complete

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per question, float64 R 2: (share of its entailed questions that are right, 1) for a right answer.

        All other rows are (0, 0): wrong answers, questions that entail none, and those tagged ``balanced: false``. An
        answer that could not be parsed (None) is wrong.

        Raises:
            DataError: there is not exactly one prediction per sample, a sample has no reference, two samples have the
                same id, no sample has an entailed question, or an entailed question is absent although `complete` is
                set.
        """
        ratios.check("gqa_consistency", predictions, samples)

        right = {}
        for answer, sample in zip(predictions, samples, strict=True):
            right[sample.id] = ratios.is_right(answer, sample)

        entailed = [_entailed(sample) for sample in samples]
        self._check(samples, entailed, right)

        rows = np.zeros((len(samples), 2))
        for row, sample, ids in zip(rows, samples, entailed, strict=True):
            known = [right[one] for one in ids if one in right]
            if right[sample.id] and known and sample.tags.get(BALANCED) != "false":
                row[:] = sum(known) / len(known), 1

        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean share (shape ``...``) from summed rows (shape ``... 2``); NaN where no right answer entails another."""
        return ratios.mean(sums)

    def _check(
        self, samples: Sequence[Sample], entailed: Sequence[Sequence[str]], known: dict[str, bool]
    ) -> None:
        """Rejects duplicate ids, data without entailed questions, and absent entailed questions."""
        if len(known) < len(samples):
            raise DataError(
                f"gqa_consistency: {len(samples)} samples have only {len(known)} different ids; entailed questions "
                "are found by their id, so ids must be unique."
            )
        if samples and not any(entailed):
            raise DataError(
                f"gqa_consistency: none of {len(samples)} samples has a tag {TAG!r} with another question's id; "
                "GQA's question files for training and validation have it. Remove this metric for other data."
            )

        absent = {}
        for sample, ids in zip(samples, entailed, strict=True):
            absent.update({one: sample.id for one in ids if one not in known})
        if self.complete and absent:
            first, by = next(iter(absent.items()))
            raise DataError(
                f"gqa_consistency: {len(absent)} entailed question(s) are not among the {len(samples)} samples, the "
                f"first being {first!r}, entailed by {by!r}; ask all questions of the split (reader gqa with "
                "balanced: false), or set complete: false for a number that is not comparable to published ones."
            )


def _entailed(sample: Sample) -> list[str]:
    """The ids of the other questions that a sample entails."""
    return [one for one in sample.tags.get(TAG, "").split() if one != sample.id]
