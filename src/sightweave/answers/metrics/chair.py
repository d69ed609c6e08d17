"""CHAIR: the share of objects named in captions that are not in the image.

Object Hallucination in Image Captioning (Rohrbach et al. 2018, arXiv:1809.02156), section 2.1. Objects are the 80
classes of COCO; an image contains the objects that its regions or reference captions name. Written from the paper's
description: every word that the authors' script counts is counted for the same class, but there are further words and a
separate rule for singulars, so scores differ slightly from those of the script.

LOWER IS BETTER: 0 means that every named object is in the image.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from sightweave.answers.scoring import coco_objects, ngrams, ratios
from sightweave.core.config import config
from sightweave.core.errors import DataError, RecipeError, did_you_mean
from sightweave.core.types import Sample

COUNTS = ("mentions", "captions")


@config
class Config:
    """Options of CHAIR."""

    count: str = "mentions"
    """``mentions`` is CHAIRi, the share of named objects that are not in the image; ``captions`` is CHAIRs, the share
    of captions that name such an object."""

    def build(self) -> Chair:
        """Builds the metric."""
        return Chair(count=self.count)


class Chair:
    """The share of object mentions, or of captions, that are hallucinated; 0 to 1, lower is better.

    Args:
        count: ``mentions`` or ``captions``.

    Raises:
        RecipeError: `count` has any other value.
    """

    is_proportion = False
    less_is_better = True

    def __init__(self, *, count: str = "mentions") -> None:
        if count not in COUNTS:
            raise RecipeError(f"chair: count is {count!r}. {did_you_mean(count, COUNTS)}")
        self.count = count

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per caption, float64 R 4: hallucinated mentions, all mentions, 1 if any is hallucinated else 0, and 1.

        An object that is named twice counts as two mentions. An answer that could not be parsed (None) names nothing.

        Raises:
            DataError: there is not exactly one prediction per sample, references are not English, or no sample has
                regions: reference captions omit most objects, which would all count as hallucinated.
        """
        if len(predictions) != len(samples):
            raise DataError(
                f"chair: {len(predictions)} prediction(s) for {len(samples)} sample(s); give one for each, in order."
            )

        if samples and not any(sample.regions for sample in samples):
            raise DataError(
                f"chair: none of {len(samples)} sample(s) has regions, so the objects in the images are unknown; "
                "provide the objects of each image as regions (COCO's instances)."
            )

        ngrams.check_english("chair", samples)

        rows = [_row(answer or "", sample) for answer, sample in zip(predictions, samples, strict=True)]
        return np.array(rows, dtype=np.float64).reshape(len(rows), 4)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (shape ``...``) from summed rows (shape ``... 4``); NaN where there are no rows, or no mentions."""
        sums = np.asarray(sums, dtype=np.float64)
        wrong, all_ = (0, 1) if self.count == "mentions" else (2, 3)
        return ratios.ratio(sums[..., wrong], sums[..., all_])


def objects(sample: Sample) -> set[str]:
    """The COCO classes that a sample's regions or references name."""
    texts = list(sample.references)
    for region in sample.regions:
        texts += region.words

    return set(itertools.chain.from_iterable(map(coco_objects.mentions, texts)))


def _row(answer: str, sample: Sample) -> list[int]:
    """The row of one caption, as in `Chair.rows`."""
    present = objects(sample)
    named = coco_objects.mentions(answer)

    wrong = sum(name not in present for name in named)
    return [wrong, len(named), int(wrong > 0), 1]
