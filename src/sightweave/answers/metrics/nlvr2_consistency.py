"""NLVR2's consistency: the share of sentences that are judged correctly with every pair of images.

A Corpus for Reasoning about Natural Language Grounded in Photographs (Suhr et al. 2019, arXiv:1811.00491), section 6;
scorer: lil-lab/nlvr. Samples of one sentence share the tag ``consistency``. Case and white space are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

TAG = "consistency"
"""Tag that identifies the samples that are scored together."""


@config
class Config:
    """This metric has no options."""

    def build(self) -> Nlvr2Consistency:
        """Builds the metric."""
        return Nlvr2Consistency()


class Nlvr2Consistency:
    """The share of sets of samples in which every answer is right.

    A set is one trial, but rows belong to samples: the result of a set is in the row of its last sample, and its other
    rows are zeros. Sums over whole sets are therefore exact; pass all samples of a set in one call. A bootstrap over
    images draws a set together with the image of its last sample.
    """

    is_proportion = False

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per sample, float64 R 2: (1 if the whole set is right else 0, 1) for a set's last sample, else (0, 0).

        An answer that could not be parsed (None) is wrong.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample lacks a reference or the tag
                ``consistency``.
        """
        ratios.check("nlvr2_consistency", predictions, samples)

        untagged = [sample for sample in samples if not sample.tags.get(TAG)]
        if untagged:
            raise DataError(
                f"nlvr2_consistency: {len(untagged)} of {len(samples)} samples have no tag {TAG!r}, the first being "
                f"{untagged[0].id!r} (its tags: {', '.join(untagged[0].tags) or 'none'}); the tag identifies the "
                "set of samples that is scored as a whole. The nlvr2 reader sets it."
            )

        last = {sample.tags[TAG]: number for number, sample in enumerate(samples)}
        right = dict.fromkeys(last, True)
        for answer, sample in zip(predictions, samples, strict=True):
            right[sample.tags[TAG]] &= ratios.is_right(answer, sample)

        rows = np.zeros((len(samples), 2))
        for name, number in last.items():
            rows[number] = right[name], 1

        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of sets that are right (shape ``...``) from summed rows (shape ``... 2``); NaN where no set ends."""
        return ratios.mean(sums)
