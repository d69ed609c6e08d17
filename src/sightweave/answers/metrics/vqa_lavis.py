"""VQA accuracy as salesforce/LAVIS computes it: the model's answer is normalised fully, the annotators' only in part.

VQA: Visual Question Answering (Agrawal et al. 2015, arXiv:1505.00468), section 4; scorer: salesforce/LAVIS (vqa_tools).
The annotators' answers lose their punctuation if they differ, but keep capitals, number words and articles, so that
these never match: ``two`` against ten ``two`` scores 0. Only for comparison with the numbers of BLIP and InstructBLIP.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from sightweave.answers.scoring import ratios, vqa_steps
from sightweave.core.config import config
from sightweave.core.types import Sample


@config
class Config:
    """This metric has no options."""

    def build(self) -> VqaLavis:
        """Builds the metric."""
        return VqaLavis()


class VqaLavis:
    """The mean, over questions and left-out annotators, of min(1, other annotators with this answer / 3)."""

    is_proportion = False

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """One row per answer, float64 R 2: its score from 0 to 1, and a count of 1.

        An answer that could not be parsed scores 0. The references are the answers of all annotators, with duplicates kept.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has fewer than four references.
        """
        # Cached, because many annotators agree.
        strip = lru_cache(maxsize=100_000)(vqa_steps.without_punctuation)

        def score(answer: str, references: Sequence[str]) -> float:
            folded = vqa_steps.plain_words(strip(vqa_steps.one_line(answer)))
            people = (
                [strip(reference) for reference in references] if len(set(references)) > 1 else references
            )
            return vqa_steps.vote(folded, people)

        return vqa_steps.rows("vqa_lavis", predictions, samples, score)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean score (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)
