"""ROUGE-L: F-score of the longest common subsequence of the words of a caption and its references.

ROUGE: A Package for Automatic Evaluation of Summaries (Lin 2004, aclanthology.org/W04-1013), section 3, as COCO's
caption evaluation computes it (github.com/salaniz/pycocoevalcap ad63453): PTB tokens without punctuation, beta 1.2.
Differs from the paper: with several references, the largest precision and the largest recall are taken separately, so
they may come from different references. An answer without words counts as one empty word, so it equals an empty
reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import ngrams, ratios
from sightweave.core.config import config
from sightweave.core.types import Sample

BETA = 1.2
"""Weight of recall relative to precision, which is used as beta^2."""


@config
class Config:
    """This metric has no options."""

    def build(self) -> RougeL:
        """Builds the metric."""
        return RougeL()


class RougeL:
    """The mean over answers of F = (1 + beta^2) P R / (R + beta^2 P); 0 to 1.

    P is the share of the answer's words, and R that of the reference's words, that are in their longest common
    subsequence; each is the largest over the references.
    """

    is_proportion = False

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 2: (F, 1). An answer that could not be parsed (None) scores 0.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has no references.
        """
        texts = ngrams.tokenised("rouge_l", predictions, samples)

        scores = []
        for prediction, (answer, references) in zip(predictions, texts, strict=True):
            scores.append(0.0 if prediction is None else score(answer, references))

        return ratios.with_ones(scores)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean F (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)

    def signature(self, samples: Sequence[Sample]) -> str:
        """A note on the tokens that were compared, such as ``tok:char``; empty if all are PTB tokens."""
        return ngrams.signature(samples)


def score(answer: str, references: Sequence[str]) -> float:
    """The F-score of one answer, from tokens joined by single spaces."""
    words = answer.split(" ")

    precision = recall = 0.0
    for reference in references:
        wanted = reference.split(" ")
        common = common_length(words, wanted)
        precision = max(precision, common / len(words))
        recall = max(recall, common / len(wanted))

    if precision == 0:
        return 0.0

    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Bit-parallel (Hyyro 2004): a row of the usual dynamic-programming table is one integer, `open_`, in which bit i is 0
    where one more word of `first` matches at position i. Thousands of words take milliseconds.
    """
    # The positions of each word of the first text, as bits of an integer.
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place

    everything = (1 << len(first)) - 1
    open_ = everything
    for word in second:
        matches = open_ & places.get(word, 0)
        open_ = ((open_ + matches) | (open_ - matches)) & everything

    return len(first) - open_.bit_count()
