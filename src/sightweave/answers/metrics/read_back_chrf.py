"""Read-back chrF: the F-score of character n-grams between the signs read from a drawn image and the reference.

As `read_back`, but a text that is partly right counts partly. The score is corpus chrF as sacreBLEU computes it (Popovic
2015, doi:10.18653/v1/W15-3049), on a scale of 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sightweave.answers.scoring import pictures as drawn
from sightweave.answers.scoring import sacre
from sightweave.core.config import config
from sightweave.core.types import Sample

_BETA = 2


@config
class Config:
    """Options of read-back chrF."""

    char_order: int = 6
    """Longest character n-gram, 1 or more."""

    def build(self) -> ReadBackChrf:
        """Builds the metric."""
        return ReadBackChrf(char_order=self.char_order)


class ReadBackChrf:
    """Corpus chrF of the texts that are read from drawn images, 0 to 1.

    Args:
        char_order: Longest character n-gram.
    """

    is_proportion = False
    of_pictures = True

    def __init__(self, *, char_order: int = 6) -> None:
        self.char_order = char_order

    def rows(self, predictions: Sequence[Any], samples: Sequence[Sample]) -> np.ndarray:
        """A row per image, float64 R K with K = 3 char_order + 1: n-grams of text, reference and both, by order, and 1.

        Raises:
            DataError: there is not exactly one image per sample, one is no image, or a reference is not the plain-text
                form of regions.
        """
        from sacrebleu.metrics.chrf import CHRF

        images = drawn.check("read_back_chrf", predictions, samples)

        texts: list[str | None] = []
        expected = []
        for pixels, sample in zip(images, samples, strict=True):
            signs = drawn.signs_of("read_back_chrf", sample)
            texts.append(" ".join(drawn.read_back(pixels, signs)))
            reference = " ".join(sign.text.replace("\n", " ") for sign in signs)
            expected.append(replace(sample, references=(reference,)))
        return sacre.segment_rows(CHRF(char_order=self.char_order, word_order=0, beta=_BETA), texts, expected)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (0 to 1, shape ``...``) from summed rows (shape ``... K``); NaN for sums over no rows."""
        sums = np.asarray(sums, dtype=np.float64)
        orders = sums[..., :-1].reshape(*sums.shape[:-1], -1, 3)
        texts, references, common = orders[..., 0], orders[..., 1], orders[..., 2]

        num_orders = np.maximum(((texts > 0) & (references > 0)).sum(-1), 1)
        precision = (common / np.maximum(texts, 1)).sum(-1) / num_orders
        recall = (common / np.maximum(references, 1)).sum(-1) / num_orders
        denominator = _BETA**2 * precision + recall
        score = (1 + _BETA**2) * precision * recall / np.where(denominator > 0, denominator, 1)
        return np.where(sums[..., -1] > 0, score, np.nan)
