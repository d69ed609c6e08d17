"""ANLS: average normalised Levenshtein similarity to the nearest reference; similarities below 0.5 count as 0.

Scene Text Visual Question Answering (Biten et al. 2019, arXiv:1905.13648), equation 1; DocVQA (Mathew et al. 2021,
arXiv:2007.00398). Differs from the paper, as the organisers' scorer does: a similarity equal to the threshold counts,
and lengths are measured before spaces are folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from sightweave.answers.scoring import ratios
from sightweave.core.config import config
from sightweave.core.types import Sample


@config
class Config:
    """Options of ANLS."""

    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Similarity (0 to 1) below which an answer scores 0; the papers use 0.5."""

    def build(self) -> Anls:
        """Builds the metric."""
        return Anls(threshold=self.threshold)


class Anls:
    """The mean over questions of the greatest ``1 - distance / length`` over references, or 0 below the threshold.

    The distance is the Levenshtein distance of the texts in lower case, with single spaces and none at the ends; the
    length is that of the longer text.

    Args:
        threshold: Similarity (0 to 1) below which an answer scores 0.

    Raises:
        ValueError: the threshold is not from 0 to 1.
    """

    is_proportion = False

    def __init__(self, *, threshold: float = 0.5) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"anls: threshold must be from 0 to 1 (got {threshold}).")
        self.threshold = threshold

    def similarity(self, answer: str, references: Sequence[str]) -> float:
        """The score of one answer, 0 to 1."""
        nearest = 1 - min(_share_wrong(answer, reference) for reference in references)
        return nearest if nearest >= self.threshold else 0.0

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 2: (score from 0 to 1, 1). An answer that could not be parsed (None) scores 0.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has no reference.
        """
        ratios.check("anls", predictions, samples)

        scores = []
        for answer, sample in zip(predictions, samples, strict=True):
            scores.append(0.0 if answer is None else self.similarity(answer, sample.references))

        return ratios.with_ones(scores)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean score (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)


def _share_wrong(answer: str, reference: str) -> float:
    """The edit distance of two texts divided by the length of the longer one."""
    # Some letters become longer in upper case (German sharp s becomes "SS"), and the organisers measure the upper-case
    # text.
    length = max(len(answer.upper()), len(reference.upper()))
    return distance(_folded(answer), _folded(reference)) / length if length else 0.0


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def distance(first: str, second: str) -> int:
    """Levenshtein distance: the minimum number of characters to insert, delete or replace.

    A column of the dynamic-programming table is stored in the bits of two integers: a bit of `more` (`less`) is set
    where a cell is one more (one less) than the cell above it (Hyyro 2003, "A bit-vector algorithm for computing
    Levenshtein and Damerau edit distances").
    """
    if not first:
        return len(second)

    # The positions of each character in the first text, as bits of an integer.
    places: dict[str, int] = {}
    for place, letter in enumerate(first):
        places[letter] = places.get(letter, 0) | 1 << place

    every, last = (1 << len(first)) - 1, 1 << (len(first) - 1)
    more, less = every, 0
    found = len(first)  # value of the bottom cell of the column

    for letter in second:
        same = places.get(letter, 0)
        diagonal = (((same & more) + more) ^ more) | same | less

        # Differences from the cells to their left.
        right_more = (less | ~(diagonal | more)) & every
        right_less = diagonal & more
        found += bool(right_more & last) - bool(right_less & last)

        # Differences of the new column's cells from those above them.
        right_more, right_less = right_more << 1 | 1, right_less << 1
        more = (right_less | ~(diagonal | right_more)) & every
        less = right_more & diagonal & every

    return found
