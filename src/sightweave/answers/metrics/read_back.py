"""Read-back match: whether all signs of a drawn image, read from its pixels, say what the reference says.

The words are read in the boxes of the reference, never by the model itself: by the template reader of our own bitmap face
(``answers/scoring/sign_reader.py``), or by Tesseract, which reads other faces too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightweave.answers.scoring import pictures as drawn
from sightweave.answers.scoring import ratios, readers
from sightweave.answers.scoring.readers import ReaderKind
from sightweave.core.config import config
from sightweave.core.types import Sample


@config
class Config:
    """Options of the read-back match."""

    reader: ReaderKind = "template"
    """Reader of the words: ``template`` (only our own bitmap face) or ``ocr`` (the program Tesseract)."""
    program: str = "tesseract"
    """Name or path of the Tesseract executable, for the reader ``ocr``."""

    def build(self) -> ReadBack:
        """Builds the metric."""
        return ReadBack(reader=readers.reader(self.reader, program=self.program))


class ReadBack:
    """The share of drawn images whose signs all have the text of the reference.

    Args:
        reader: Reads the words; by default the template reader.
    """

    is_proportion = True
    of_pictures = True

    def __init__(self, *, reader: readers.Reader | None = None) -> None:
        self.reader = readers.TemplateReader() if reader is None else reader

    def rows(self, predictions: Sequence[Any], samples: Sequence[Sample]) -> np.ndarray:
        """A row per image, float64 R 2: (1 if all signs are right else 0, 1). A missing image (None) is wrong.

        Raises:
            DataError: there is not exactly one image per sample, one is no image, or a reference is not the plain-text
                form of regions.
            BackendError: the reader is not installed.
        """
        images = drawn.check("read_back", predictions, samples)

        right = []
        for texts, expected in drawn.read_back("read_back", images, samples, self.reader):
            found = [ratios.fold(text, ignore_case=False) for text in texts]
            right.append(found == [ratios.fold(text, ignore_case=False) for text in expected])
        return ratios.with_ones(right)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right images (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)
