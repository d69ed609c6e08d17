"""Both images right: a sentence with two meanings counts only if it is translated right with each of its pictures.

Scored beside contrastive accuracy on sentences such as those of CoMMuTE (Futeral et al. 2023, arXiv:2212.10140).
Whoever always chooses the same meaning gets 0 here, and half of the single translations right. Differs from the
paper: answers are what the model writes, not which of two given texts it finds likelier.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


@config
class Config:
    """Options of the comparison."""

    ignore_case: bool = True
    """Whether to ignore case (``Maus`` equals ``maus``)."""

    def build(self) -> BothImagesRight:
        """The metric."""
        return BothImagesRight(ignore_case=self.ignore_case)


class BothImagesRight:
    """The share of ambiguous sentences whose translation is right with every one of their pictures.

    A sentence is the samples that have ``tags["contrast"]``, the same prompt and the same ``tags["languages"]``. It
    counts if they are about two or more pictures (`Sample.group`) and no translation is right for all of them: a
    model that does not look gives one translation, and so scores exactly 0. Every other sample counts nothing.

    The result of a sentence stands in the row of its last sample, and the other rows add nothing, so that each
    sentence is one trial. A draw of whole pictures takes a sentence with the picture of its last sample. Where a data
    set goes through its pictures in order, the sentences of one pair of pictures therefore stay together.

    Args:
        ignore_case: Whether letters are compared without case.
    """

    is_proportion = True

    def __init__(self, *, ignore_case: bool = True) -> None:
        self.ignore_case = ignore_case

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 2: (1 if every translation of the sentence is right else 0, 1) in its last row, else (0, 0).

        An answer that could not be parsed (None) is wrong.

        Raises:
            DataError: not one prediction per sample, or an ambiguous sentence without a reference.
        """
        if len(predictions) != len(samples):
            raise DataError(
                f"both_images_right: {len(predictions)} prediction(s) for {len(samples)} sample(s); "
                "give one for each, in order."
            )
        bare = [sample.id for sample in samples if sample.tags.get("contrast") and not sample.references]
        if bare:
            raise DataError(
                f"both_images_right: {len(bare)} ambiguous sentence(s) have no reference translation, the first "
                f"being {bare[0]!r}; remove them or add translations."
            )
        rows = np.zeros((len(samples), 2))
        for numbers in _sentences(samples):
            # Compared without endings, so that "Bank." and "Bank" are one translation, as they are where it is judged.
            references = [{ratios.bare(self._fold(text)) for text in samples[n].references} for n in numbers]
            pictures = {samples[n].group for n in numbers}
            if len(pictures) < 2 or set.intersection(*references):
                continue
            right = all(
                ratios.is_same(predictions[n], samples[n].references, ignore_case=self.ignore_case)
                for n in numbers
            )
            rows[numbers[-1]] = right, 1
        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share that is right, from sums ``... 2``: shape ``...``; NaN where no sentence counts."""
        sums = np.asarray(sums, dtype=np.float64)
        share = np.full(sums.shape[:-1], np.nan)
        np.divide(sums[..., 0], sums[..., 1], out=share, where=sums[..., 1] > 0)
        return share

    def _fold(self, text: str) -> str:
        return ratios.fold(text, ignore_case=self.ignore_case)


def _sentences(samples: Sequence[Sample]) -> list[list[int]]:
    """Numbers of the samples that ask for the same sentence in the same language."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, sample in enumerate(samples):
        if sample.tags.get("contrast"):
            found.setdefault((sample.prompt, sample.tags.get("languages", "")), []).append(number)
    return list(found.values())
