"""Multiple choice by likelihood: an answer is right if the most likely option is a right one.

Language Models are Few-Shot Learners (Brown et al. 2020, arXiv:2005.14165), section 2.4, compares options by likelihood
per token. The sum favors short options; the mean over tokens or characters removes the effect of length. Written from
the paper's description.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sightweave.answers.scoring import likelihood_checks, named_options, ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError, RecipeError, did_you_mean
from sightweave.core.types import Likelihood, Sample

By = Literal["sum", "token", "character"]
WAYS = ("sum", "token", "character")


@config
class Config:
    """Options of the comparison."""

    by: By = "token"
    """Score to compare: the log-likelihood of an option's whole text (``sum``), or its mean per token or character."""

    def build(self) -> ChoiceLikelihood:
        """Builds the metric."""
        return ChoiceLikelihood(by=self.by)


class ChoiceLikelihood:
    """The share of questions whose most likely option is right.

    The texts of the options are scored, not their letters. A tie between a right and a wrong option is wrong.

    Args:
        by: ``sum``, ``token`` or ``character``.

    Raises:
        RecipeError: `by` has any other value.
    """

    is_proportion = True
    passes = ("image",)

    def __init__(self, *, by: By = "token") -> None:
        if by not in WAYS:
            raise RecipeError(f"choice_likelihood: by is {by!r}. {did_you_mean(by, WAYS)}")
        self.by = by

    def candidates(self, prediction: str | None, sample: Sample) -> tuple[str, ...]:
        """The texts of the options."""
        return sample.options

    def rows(self, judged: Sequence[Sequence[Sequence[Likelihood]]], samples: Sequence[Sample]) -> np.ndarray:
        """A row per question, float64 R 2: (1 if the most likely option is right else 0, 1).

        A reference is an option's text or its letter.

        Raises:
            DataError: there is not exactly one likelihood per sample and option, a likelihood is NaN, or a sample has
                no options, no reference, or a reference that is not one of the options.
        """
        likelihood_checks.check("choice_likelihood", judged, samples, self.passes)

        empty = [sample.id for sample in samples if not sample.options]
        if empty:
            raise DataError(
                f"choice_likelihood: {len(empty)} of {len(samples)} samples have no options, the first being "
                f"{empty[0]!r}; this metric compares options. For open questions use exact_match."
            )
        ratios.check("choice_likelihood", [None] * len(samples), samples)

        right = [self._is_right(given, sample) for (given,), sample in zip(judged, samples, strict=True)]
        return ratios.with_ones(right)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right answers (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)

    def signature(self, samples: Sequence[Sample]) -> str:
        """A note on how options were compared, such as ``by:token``."""
        return f"by:{self.by}"

    def _is_right(self, given: Sequence[Likelihood], sample: Sample) -> bool:
        """Whether some right option is more likely than every wrong one."""
        likelihood_checks.check_count("choice_likelihood", sample, given, len(sample.options))
        wanted = named_options.wanted("choice_likelihood", sample)

        right: list[float] = []
        wrong: list[float] = []
        for option, likelihood in zip(sample.options, given, strict=True):
            scores = right if ratios.fold(option) in wanted else wrong
            scores.append(self._score(option, likelihood))

        return not wrong or max(right) > max(wrong)

    def _score(self, option: str, likelihood: Likelihood) -> float:
        if self.by == "token":
            return likelihood.per_token
        if self.by == "character":
            return likelihood.logprob / max(1, len(option))
        return likelihood.logprob
