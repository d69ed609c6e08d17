"""ROUGE-L: how much of the longest common word sequence of a caption and its references each of them is.

ROUGE: A Package for Automatic Evaluation of Summaries (Lin 2004, aclanthology.org/W04-1013), section 3, as COCO's
caption evaluation computes it (github.com/salaniz/pycocoevalcap ad63453): PTB tokens without punctuation, beta 1.2.
Differs from the paper: with several references, the largest precision and the largest recall are taken separately,
so they may come from two references; and an answer without words is one empty word, so it equals an empty reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import ngrams
from sightweave.core.config import config
from sightweave.core.types import Sample

BETA = 1.2
"""Recall counts beta^2 times as much as precision."""


@config
class Config:
    """Nothing to choose: there is one ROUGE-L of captions."""

    def build(self) -> RougeL:
        """The metric."""
        return RougeL()


class RougeL:
    """The mean over answers of F = (1 + beta^2) P R / (R + beta^2 P); 0 to 1.

    P is the share of the answer's words, R that of the reference's words, that are in their longest common
    subsequence; of each, the largest over the references.
    """

    is_proportion = False

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 2: (F, 1). An answer that could not be parsed (None) scores 0.

        Raises:
            DataError: not one prediction per sample, or a sample without references.
        """
        texts = ngrams.tokenised("rouge_l", predictions, samples)
        scores = [
            0.0 if given is None else score(answer, references)
            for given, (answer, references) in zip(predictions, texts, strict=True)
        ]
        return np.stack([np.array(scores, dtype=np.float64), np.ones(len(scores))], axis=1)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean F, from sums ``... 2``: shape ``...``; NaN where there are no rows."""
        sums = np.asarray(sums, dtype=np.float64)
        mean = np.full(sums.shape[:-1], np.nan)
        np.divide(sums[..., 0], sums[..., 1], out=mean, where=sums[..., 1] > 0)
        return mean

    def signature(self, samples: Sequence[Sample]) -> str:
        """Which tokens were compared, where they are not the usual PTB tokens."""
        return ngrams.signature(samples)


def score(answer: str, references: Sequence[str]) -> float:
    """F of one answer, from texts of tokens with single spaces between them."""
    said = answer.split(" ")
    wanted = [reference.split(" ") for reference in references]
    common = [common_length(said, one) for one in wanted]
    precision = max(common) / len(said)
    recall = max(length / len(one) for length, one in zip(common, wanted, strict=True))
    if max(common) == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Bit-parallel (Hyyro 2004): bit i of `open_` is 0 where one more word of `first` matches by place i, so that a
    row of the usual table is one integer; thousands of words take milliseconds.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(first)) - 1
    open_ = everything
    for word in second:
        matches = open_ & places.get(word, 0)
        open_ = ((open_ + matches) | (open_ - matches)) & everything
    return len(first) - open_.bit_count()
