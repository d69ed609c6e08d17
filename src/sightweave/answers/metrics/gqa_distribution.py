"""GQA's distribution: the distance between the distributions of given and right answers, in each group of questions.

GQA: A New Dataset for Real-World Visual Reasoning (Hudson and Manning 2019, arXiv:1902.09506), section 4.4. A group is
a value of the tag ``group_global``, such as the questions about colours. If text a is the right answer e times and the
given answer o times::

    chi2 of a group = sum over a with e > 0 of (o - e)^2 / e
    score = mean of chi2 over groups, weighted by their number of questions, / 100

LOWER IS BETTER: a model that gives the most common answers too often scores high. The score grows with the number of
questions, so sets of different sizes cannot be compared. Differs from the authors' script: case and white space are
ignored.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import gqa, ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

TAG = "group_global"
"""Tag with the group of a question; questions without one are ignored."""
MAX_NUMBERS = 1 << 27
"""Maximum number of values in the array of rows, which then takes 1 GiB."""


@config
class Config:
    """This metric has no options."""

    def build(self) -> GqaDistribution:
        """Builds the metric."""
        return GqaDistribution()


class GqaDistribution:
    """The mean chi-square over groups of questions, divided by 100; lower is better."""

    is_proportion = False
    less_is_better = True
    unit = "chi-square / 100"

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per question, float64 R 3C: three counts for each of the C pairs of group and right answer that occur.

        The first C columns are 1 where the question has this pair, the next C where its group is the pair's and its
        prediction is the pair's answer, and the last C where its group is the pair's. Equal samples give equal columns.
        An answer that could not be parsed (None) counts as no answer.

        Raises:
            DataError: there is not exactly one prediction per sample, a question does not have exactly one reference,
                no question has a group, or the rows would have more values than `MAX_NUMBERS`.
        """
        ratios.check("gqa_distribution", predictions, samples)
        groups = [_group(sample) for sample in samples]
        pairs = _pairs(samples, groups)

        # Number the columns of the pairs, and collect those of each group.
        columns = {pair: number for number, pair in enumerate(sorted(set(pairs)))}
        size = len(samples) * 3 * len(columns)
        if size > MAX_NUMBERS:
            raise DataError(
                f"gqa_distribution: {len(samples)} questions with {len(columns)} right answers by group need {size} "
                f"numbers, more than {MAX_NUMBERS}; score the balanced questions alone, or fewer of them."
            )
        of_group: dict[str, list[int]] = {}
        for (group, _), number in columns.items():
            of_group.setdefault(group, []).append(number)

        rows = np.zeros((len(samples), 3, len(columns)))
        for row, answer, sample, group in zip(rows, predictions, samples, groups, strict=True):
            if not group:
                continue
            row[0, columns[group, ratios.fold(sample.references[0])]] = 1
            given = None if answer is None else columns.get((group, ratios.fold(answer)))
            if given is not None:
                row[1, given] = 1
            row[2, of_group[group]] = 1

        return rows.reshape(len(samples), 3 * len(columns))

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (shape ``...``) from summed rows (shape ``... 3C``); NaN where no question has a group."""
        sums = np.asarray(sums, dtype=np.float64)
        right, given, questions = np.split(sums, 3, axis=-1)  # ... C

        # Leave out answers that are never right in these sums: a resample may lack answers of the full set.
        parts = np.zeros(right.shape)
        np.divide(questions * (given - right) ** 2, right, out=parts, where=right > 0)

        return ratios.ratio(parts.sum(-1), right.sum(-1)) / 100

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``all_questions``: the score over all questions, as published; tables otherwise average over question types."""
        return {"all_questions": self.total(sums)}


def _group(sample: Sample) -> str:
    """The group of a balanced question; empty for questions that do not count."""
    return "" if sample.tags.get(gqa.BALANCED) == "false" else sample.tags.get(TAG, "")


def _pairs(samples: Sequence[Sample], groups: Sequence[str]) -> list[tuple[str, str]]:
    """Group and right answer of each question that has a group.

    Raises:
        DataError: no question has a group, or a question has several right answers.
    """
    if samples and not any(groups):
        raise DataError(
            f"gqa_distribution: none of {len(samples)} samples has a tag {TAG!r} and counts; GQA's question files "
            "have groups, except for the test split. Remove this metric for other data."
        )

    grouped = list(itertools.compress(samples, groups))
    several = [sample.id for sample in grouped if len(sample.references) != 1]
    if several:
        raise DataError(
            f"gqa_distribution: {len(several)} question(s) have several right answers, the first being "
            f"{several[0]!r}; a distribution needs exactly one per question, as in GQA."
        )

    right = [ratios.fold(sample.references[0]) for sample in grouped]
    return list(zip(filter(None, groups), right, strict=True))
