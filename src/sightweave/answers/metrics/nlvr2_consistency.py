"""NLVR2's consistency: the share of sentences that are judged right about every pair of pictures they are asked of.

A Corpus for Reasoning about Natural Language Grounded in Photographs (Suhr et al. 2019, arXiv:1811.00491), section 6;
scorer: lil-lab/nlvr. Samples of one sentence share the tag ``consistency``. Capitals and white space are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

TAG = "consistency"
"""Which samples are judged together."""


@config
class Config:
    """There is nothing to choose."""

    def build(self) -> Nlvr2Consistency:
        """The metric."""
        return Nlvr2Consistency()


class Nlvr2Consistency:
    """The share of sets of samples in which every answer is right.

    A set is one trial, but rows are of samples: what a set adds lies on the row of its last sample, and its other
    rows are zeros. So sums of whole sets are exact; give all samples of a set in one call. A draw of a bootstrap that
    takes samples by picture takes a set wherever it takes the picture of its last sample.
    """

    is_proportion = False

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 2: (1 if the whole set is right else 0, 1) for the last sample of each set, (0, 0) for the others.

        An answer that could not be parsed (None) is wrong.

        Raises:
            DataError: not one prediction per sample, or a sample without a reference or the tag ``consistency``.
        """
        ratios.check("nlvr2_consistency", predictions, samples)
        untagged = [sample for sample in samples if not sample.tags.get(TAG)]
        if untagged:
            raise DataError(
                f"nlvr2_consistency: {len(untagged)} of {len(samples)} samples have no tag {TAG!r}, the first being "
                f"{untagged[0].id!r} (its tags: {', '.join(untagged[0].tags) or 'none'}); the tag identifies the "
                "set of samples that "
                "is scored as a whole. The nlvr2 reader sets it."
            )
        last = {sample.tags[TAG]: number for number, sample in enumerate(samples)}
        whole = dict.fromkeys(last, True)
        for answer, sample in zip(predictions, samples, strict=True):
            whole[sample.tags[TAG]] &= ratios.is_right(answer, sample)
        found = np.zeros((len(samples), 2))
        for name, number in last.items():
            found[number] = whole[name], 1
        return found

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of sets that are right, from sums ``... 2``: shape ``...``; NaN where no set ends."""
        return ratios.mean(sums)
