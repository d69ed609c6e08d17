"""Corpus BLEU of captions: the share of their n-grams that occur in a reference.

BLEU: a Method for Automatic Evaluation of Machine Translation (Papineni et al. 2002, doi:10.3115/1073083.1073135),
as COCO's caption evaluation computes it (github.com/salaniz/pycocoevalcap ad63453): PTB tokens without punctuation, the
closest reference length, and tiny constants that avoid division by zero. Differs from the paper by these constants; and
if two references are equally close in length, the shorter one counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import ngrams
from sightweave.core.config import config
from sightweave.core.errors import RecipeError
from sightweave.core.types import Sample

_TO_MATCHES = 1e-15
"""Added to numerators, so that a count of 0 does not become the logarithm of 0."""
_TO_TOTALS = 1e-9
"""Added to denominators, so that an empty answer scores 0."""


@config
class Config:
    """Options of BLEU."""

    n: int = 4
    """Longest n-gram to count, from 1 to 4; BLEU-4 is the usual choice."""

    def build(self) -> Bleu:
        """Builds the metric."""
        return Bleu(n=self.n)


class Bleu:
    """The geometric mean of the n-gram precisions of a corpus, times the brevity penalty; 0 to 1.

    BLEU-n = min(1, exp(1 - r / c)) * (p_1 * ... * p_n) ^ (1 / n), where c is the length of all answers, r that of
    their closest references, and p_k the share of the answers' k-grams that are in a reference.

    Args:
        n: Longest n-gram to count.

    Raises:
        RecipeError: n is not from 1 to 4.
    """

    is_proportion = False

    def __init__(self, *, n: int = 4) -> None:
        if not 1 <= n <= 4:
            raise RecipeError(f"bleu: n must be from 1 to 4 (got {n}).")
        self.n = n

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R K with K = 2 n + 3.

        The columns are the matching n-grams for each order from 1 to n, all n-grams for each order, the length of the
        answer, the length of the reference, and 1. An answer that could not be parsed (None) counts as empty.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has no references.
        """
        texts = ngrams.tokenised("bleu", predictions, samples)

        rows = []
        for answer, references in texts:
            rows.append(self.row(answer.split(), [reference.split() for reference in references]))

        return np.array(rows, dtype=np.float64).reshape(len(rows), 2 * self.n + 3)

    def row(self, answer: Sequence[str], references: Sequence[Sequence[str]]) -> list[int]:
        """The K statistics of one answer, as in `rows`, from its tokens and those of its references."""
        # For each n-gram, its largest count in any single reference.
        most = ngrams.count((), self.n)
        for reference in references:
            for seen, counts in zip(most, ngrams.count(reference, self.n), strict=True):
                seen |= counts  # the larger of the two counts

        grams = ngrams.count(answer, self.n)
        matches = [(counts & seen).total() for counts, seen in zip(grams, most, strict=True)]
        totals = [counts.total() for counts in grams]

        _, closest = min((abs(len(reference) - len(answer)), len(reference)) for reference in references)
        return [*matches, *totals, len(answer), closest, 1]

    def total(self, sums: np.ndarray) -> np.ndarray:
        """BLEU-n (shape ``...``) from summed rows (shape ``... K``); NaN where there are no rows."""
        sums = np.asarray(sums, dtype=np.float64)
        n = self.n

        precisions = (sums[..., :n] + _TO_MATCHES) / (sums[..., n : 2 * n] + _TO_TOTALS)
        score = np.prod(precisions, axis=-1) ** (1 / n)

        return np.where(sums[..., -1] > 0, score * self._brevity(sums), np.nan)

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``effective_order``: BLEU over the orders that occur, if the answers are too short for some; else NaN.

        Answers of fewer than n words have no n-gram, so BLEU-n is near 0 even if every answer equals its reference.
        """
        sums = np.asarray(sums, dtype=np.float64)
        matches, grams = sums[..., : self.n], sums[..., self.n : 2 * self.n]

        orders = np.maximum((grams > 0).sum(-1), 1)
        logs = np.log((matches + _TO_MATCHES) / (grams + _TO_TOTALS))
        score = np.exp(np.where(grams > 0, logs, 0.0).sum(-1) / orders)
        score = score * self._brevity(sums)

        is_short = (sums[..., -1] > 0) & (grams[..., 0] > 0) & (grams[..., -1] == 0)
        return {"effective_order": np.where(is_short, score, np.nan)}

    def signature(self, samples: Sequence[Sample]) -> str:
        """A note on the tokens that were compared, such as ``tok:char``; empty if all are PTB tokens."""
        return ngrams.signature(samples)

    def _brevity(self, sums: np.ndarray) -> np.ndarray:
        """The brevity penalty (shape ``...``) of summed rows (shape ``... K``)."""
        answers, references = sums[..., 2 * self.n], sums[..., 2 * self.n + 1]
        ratio = (answers + _TO_MATCHES) / (references + _TO_TOTALS)
        penalty: np.ndarray = np.exp(np.minimum(0.0, 1 - 1 / ratio))
        return penalty
