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
from sightweave.answers.scoring import readers, sacre
from sightweave.answers.scoring.readers import ReaderKind
from sightweave.core.config import config
from sightweave.core.types import Sample

_BETA = 2


@config
class Config:
    """Options of read-back chrF."""

    char_order: int = 6
    """Longest character n-gram, 1 or more."""
    reader: ReaderKind = "template"
    """Reader of the words: ``template`` (only our own bitmap face) or ``ocr`` (the program Tesseract)."""
    program: str = "tesseract"
    """Name or path of the Tesseract executable, for the reader ``ocr``."""

    def build(self) -> ReadBackChrf:
        """Builds the metric."""
        reader = readers.reader(self.reader, program=self.program)
        return ReadBackChrf(char_order=self.char_order, reader=reader)


class ReadBackChrf:
    """Corpus chrF of the texts that are read from drawn images, 0 to 1.

    Args:
        char_order: Longest character n-gram.
        reader: Reads the words; by default the template reader.
    """

    is_proportion = False
    of_pictures = True

    def __init__(self, *, char_order: int = 6, reader: readers.Reader | None = None) -> None:
        self.char_order = char_order
        self.reader = readers.TemplateReader() if reader is None else reader

    def rows(self, predictions: Sequence[Any], samples: Sequence[Sample]) -> np.ndarray:
        """A row per image, float64 R K with K = 3 char_order + 1: n-grams of text, reference and both, by order, and 1.

        Raises:
            DataError: there is not exactly one image per sample, one is no image, or a reference is not the plain-text
                form of regions.
            BackendError: the reader is not installed.
        """
        from sacrebleu.metrics.chrf import CHRF

        images = drawn.check("read_back_chrf", predictions, samples)

        texts: list[str | None] = []
        expected = []
        read = drawn.read_back("read_back_chrf", images, samples, self.reader)
        for (said, signs), sample in zip(read, samples, strict=True):
            texts.append(" ".join(said))
            expected.append(replace(sample, references=(" ".join(signs),)))
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
