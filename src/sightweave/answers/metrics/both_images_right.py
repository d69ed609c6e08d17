"""Both images right: an ambiguous sentence counts only if it is translated correctly with each of its images.

A complement to contrastive accuracy on sentences such as those of CoMMuTE (Futeral et al. 2023, arXiv:2212.10140). A
model that always chooses the same meaning scores 0 here, although half of its translations are right. Differs from the
paper: it scores generated translations instead of asking which of two given texts is more likely.
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
        """Builds the metric."""
        return BothImagesRight(ignore_case=self.ignore_case)


class BothImagesRight:
    """The share of ambiguous sentences that are translated correctly with every one of their images.

    A sentence is the set of samples that have ``tags["contrast"]``, the same prompt and the same ``tags["languages"]``.
    It counts if it has two or more images (`Sample.group`) and no translation is right for all of them. A model that
    ignores the image gives the same translation each time, so it scores exactly 0. All other samples are ignored.

    The result of a sentence is in the row of its last sample and its other rows are zeros, so that each sentence is one
    trial. A bootstrap over images draws a sentence together with the image of its last sample. If a dataset lists its
    images in order, the sentences of a pair of images therefore stay together.

    Args:
        ignore_case: Whether to ignore case.
    """

    is_proportion = True

    def __init__(self, *, ignore_case: bool = True) -> None:
        self.ignore_case = ignore_case

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per sample, float64 R 2: (1 if all translations of the sentence are right else 0, 1) for its last sample.

        The rows of its other samples are (0, 0). An answer that could not be parsed (None) is wrong.

        Raises:
            DataError: there is not exactly one prediction per sample, or an ambiguous sentence has no reference.
        """
        if len(predictions) != len(samples):
            raise DataError(
                f"both_images_right: {len(predictions)} prediction(s) for {len(samples)} sample(s); "
                "give one for each, in order."
            )

        empty = [sample.id for sample in samples if sample.tags.get("contrast") and not sample.references]
        if empty:
            raise DataError(
                f"both_images_right: {len(empty)} ambiguous sentence(s) have no reference translation, the first "
                f"being {empty[0]!r}; remove them or add translations."
            )

        rows = np.zeros((len(samples), 2))
        for numbers in _sentences(samples):
            if self._is_ambiguous([samples[n] for n in numbers]):
                right = [self._is_right(predictions[n], samples[n]) for n in numbers]
                rows[numbers[-1]] = all(right), 1

        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right sentences (shape ``...``) from summed rows (shape ``... 2``); NaN where no sentence counts."""
        return ratios.mean(sums)

    def _is_ambiguous(self, samples: Sequence[Sample]) -> bool:
        """Whether the samples of a sentence have several images and no translation that is right for all of them."""
        images = {sample.group for sample in samples}
        return len(images) > 1 and not set.intersection(*map(self._references, samples))

    def _references(self, sample: Sample) -> set[str]:
        """The normalised references, without final punctuation: "Bank." and "Bank" are the same translation."""
        folded = [ratios.fold(text, ignore_case=self.ignore_case) for text in sample.references]
        return set(map(ratios.bare, folded))

    def _is_right(self, answer: str | None, sample: Sample) -> bool:
        return ratios.is_same(answer, sample.references, ignore_case=self.ignore_case)


def _sentences(samples: Sequence[Sample]) -> list[list[int]]:
    """For each sentence and language, the indices of the samples that request its translation."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, sample in enumerate(samples):
        if sample.tags.get("contrast"):
            key = sample.prompt, sample.tags.get("languages", "")
            found.setdefault(key, []).append(number)

    return list(found.values())
