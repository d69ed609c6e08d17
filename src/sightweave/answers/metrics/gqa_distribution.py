"""GQA's distribution: how far the answers are spread otherwise than the right ones, in each group of questions.

GQA: A New Dataset for Real-World Visual Reasoning (Hudson and Manning 2019, arXiv:1902.09506), section 4.4. A group is
the tag ``group_global``: questions on colours are one. With e right answers and o given ones of each text a::

    chi2 of a group = sum over a with e > 0 of (o - e)^2 / e
    score = mean of chi2 over groups, weighted by their questions, / 100

LESS IS BETTER: a model that gives the commonest answers too often scores high. A sum over thousands of questions, so
sets of different sizes do not compare. Differs from the authors' script: capitals and white space are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import gqa, ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

TAG = "group_global"
"""The group of a question; a question without one adds nothing."""
MAX_NUMBERS = 1 << 27
"""Of all rows: 1 GiB."""


@config
class Config:
    """There is nothing to choose."""

    def build(self) -> GqaDistribution:
        """The metric."""
        return GqaDistribution()


class GqaDistribution:
    """The mean chi-square over groups of questions, divided by 100; less is better."""

    is_proportion = False
    less_is_better = True
    unit = "chi-square / 100"

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 3C: three counts for each of the C pairs of a group and a right answer that occur.

        First C columns with 1 where the question has this pair, then C with 1 where its group is the pair's and its
        prediction the pair's answer, then C with 1 where its group is the pair's. Equal samples give equal columns.
        An answer that could not be parsed (None) is no answer.

        Raises:
            DataError: not one prediction per sample, a question without exactly one reference, no question with a
                group, or more numbers than `MAX_NUMBERS`.
        """
        ratios.check("gqa_distribution", predictions, samples)
        groups = [
            sample.tags.get(TAG, "") if sample.tags.get(gqa.BALANCED) != "false" else "" for sample in samples
        ]
        if samples and not any(groups):
            raise DataError(
                f"gqa_distribution: none of {len(samples)} samples has a tag {TAG!r} and counts; GQA's question files "
                "have groups, except for the test split. Remove this metric for other data."
            )
        several = [
            one.id for one, group in zip(samples, groups, strict=True) if group and len(one.references) != 1
        ]
        if several:
            raise DataError(
                f"gqa_distribution: {len(several)} question(s) have several right answers, the first being "
                f"{several[0]!r}; a distribution needs exactly one per question, as in GQA."
            )
        pairs = [
            (group, ratios.fold(one.references[0]))
            for one, group in zip(samples, groups, strict=True)
            if group
        ]
        cells = {pair: number for number, pair in enumerate(sorted(set(pairs)))}
        size = len(samples) * 3 * len(cells)
        if size > MAX_NUMBERS:
            raise DataError(
                f"gqa_distribution: {len(samples)} questions with {len(cells)} right answers by group need {size} "
                f"numbers, more than {MAX_NUMBERS}; score the balanced questions alone, or fewer of them."
            )
        of_group: dict[str, list[int]] = {}
        for (group, _), number in cells.items():
            of_group.setdefault(group, []).append(number)
        found = np.zeros((len(samples), 3, len(cells)))
        for row, answer, sample, group in zip(found, predictions, samples, groups, strict=True):
            if not group:
                continue
            row[0, cells[group, ratios.fold(sample.references[0])]] = 1
            given = None if answer is None else cells.get((group, ratios.fold(answer)))
            if given is not None:
                row[1, given] = 1
            row[2, of_group[group]] = 1
        return found.reshape(len(samples), 3 * len(cells))

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score, from sums ``... 3C``: shape ``...``; NaN where no question has a group."""
        sums = np.asarray(sums, dtype=np.float64)
        right, given, questions = np.split(sums, 3, axis=-1)  # ... C
        # An answer that is right nowhere here is no part of the sum: a resample may lack what the set has.
        parts = np.zeros(right.shape)
        np.divide(questions * (given - right) ** 2, right, out=parts, where=right > 0)
        return ratios.ratio(parts.sum(-1), right.sum(-1)) / 100

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``all_questions``: the score over all of them, as published; tables else show means over their types."""
        return {"all_questions": self.total(sums)}
