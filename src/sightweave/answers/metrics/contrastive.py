"""Contrastive accuracy: the translation for this image must be more likely than the one for another image.

Tackling Ambiguity with Images: Improved Multimodal Machine Translation and Contrastive Evaluation (Futeral et al. 2023,
arXiv:2212.10140), the metric of CoMMuTE. More likely means a lower perplexity, that is, a lower negative log-likelihood
per token. A tie is wrong, as in the authors' script; without ties, a model that ignores the image scores one half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import likelihood_checks, ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Likelihood, Sample

TAG = "contrast"
"""Tag with the translation for the other image."""


@config
class Config:
    """This metric has no options."""

    def build(self) -> Contrastive:
        """Builds the metric."""
        return Contrastive()


class Contrastive:
    """The share of ambiguous sentences whose right translation is more likely, per token, than the wrong one.

    Samples without ``tags["contrast"]`` are ignored. The first reference is the right translation. Two equal
    translations (CoMMuTE's en-ar has two such lines, its en-ru six) are a tie.
    """

    is_proportion = True
    passes = ("image",)

    def candidates(self, prediction: str | None, sample: Sample) -> tuple[str, ...]:
        """The right and the wrong translation; empty for a sample without a contrast or a reference."""
        contrast = sample.tags.get(TAG)
        return (sample.references[0], contrast) if contrast and sample.references else ()

    def rows(self, judged: Sequence[Sequence[Sequence[Likelihood]]], samples: Sequence[Sample]) -> np.ndarray:
        """A row per sample, float64 R 2: (1 if the right translation is more likely else 0, 1); (0, 0) without a contrast.

        Raises:
            DataError: there is not exactly one likelihood per sample and candidate, a likelihood is NaN, no sample has
                a contrast, or a sample has a contrast but no reference.
        """
        likelihood_checks.check("contrastive", judged, samples, self.passes)

        ambiguous = [sample for sample in samples if sample.tags.get(TAG)]
        if samples and not ambiguous:
            raise DataError(
                f"contrastive: none of {len(samples)} samples has a tag {TAG!r} with the translation for the other "
                "image; CoMMuTE and scenes have it. Remove this metric for other data."
            )
        empty = [sample.id for sample in ambiguous if not sample.references]
        if empty:
            raise DataError(
                f"contrastive: {len(empty)} ambiguous sentence(s) have no reference translation, the first being "
                f"{empty[0]!r}; remove them or add translations."
            )

        rows = np.zeros((len(samples), 2))
        for row, (given,), sample in zip(rows, judged, samples, strict=True):
            if not sample.tags.get(TAG):
                continue
            likelihood_checks.check_count("contrastive", sample, given, 2)
            right, wrong = given
            row[:] = right.per_token > wrong.per_token, 1

        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right choices (shape ``...``) from summed rows (shape ``... 2``); NaN if no sample has a contrast."""
        return ratios.mean(sums)
