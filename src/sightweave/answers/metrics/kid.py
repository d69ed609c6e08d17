r"""Kernel distance (KID): how different the drawings as a whole are from the real images, by features of a named model.

Demystifying MMD GANs (Binkowski et al. 2018, arXiv:1801.01401): the squared maximum mean discrepancy with the kernel
``k(x, y) = (x . y / D + 1)^3``, estimated without bias; 0 for two equal distributions, and negative by chance. Here, drawing
i and real image i belong to the same description, so they are not independent. The estimate is that of Gretton et al.
(2012, JMLR 13, lemma 6), which never compares the two::

    1 / (n (n - 1))  sum over i != j of  k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)

Published KIDs use the Inception network. These use the encoder of a run, and are only comparable for the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sightweave.answers.scoring import judges, ratios
from sightweave.answers.scoring import pictures as drawn
from sightweave.answers.scoring.judges import Judge
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample
from sightweave.data.inputs.image_files import load

_NAME = "kid"
_DEGREE = 3


@config
class Config:
    """Options of the kernel distance."""

    features: str
    """Folder of the run whose image encoder computes the features, averaged over the patches of an image."""
    subset_size: int = 0
    """Number of drawings that are compared with one another, taken in order; 0 for all. The published value is 1,000. All
    sizes estimate the same distance; larger ones vary less."""

    def build(self) -> Kid:
        """Builds the metric; an evaluation loads the run of its features."""
        return Kid(judged_by=self.features, subset_size=self.subset_size)


class Kid:
    """The unbiased squared maximum mean discrepancy between drawings and real images.

    Args:
        judged_by: Folder of the run that computes the features.
        subset_size: Number of drawings that are compared with one another, 2 or more; 0 for all.
        judge: The model that computes the features; an evaluation sets it.

    Raises:
        ValueError: The subset size is 1 or negative.
    """

    is_proportion = False
    of_pictures = True
    less_is_better = True
    can_be_negative = True
    unit = "MMD^2"

    def __init__(self, *, judged_by: str = "", subset_size: int = 0, judge: Judge | None = None) -> None:
        if subset_size < 0 or subset_size == 1:
            raise ValueError(f"kid: subset_size must be 0 or at least 2 (got {subset_size}).")
        self.judged_by, self.subset_size, self.judge = judged_by, subset_size, judge

    def rows(self, predictions: Sequence[Any], samples: Sequence[Sample]) -> np.ndarray:
        """A row per drawing, float64 R 2: its share of the distance, and 1.

        The mean of the rows is the distance. Each drawing takes part in the comparisons of all others, so it moves the
        distance twice as much as its own comparisons say; the rows contain that, so that intervals are as wide as they
        should be. Missing drawings (None) are black.

        Raises:
            DataError: there is not exactly one image per sample, one is no image, there is no model, fewer than two
                drawings, or a sample has no target image.
        """
        judge = judges.needed(_NAME, self.judge)
        images = drawn.check(_NAME, predictions, samples)
        if len(images) < 2:
            raise DataError(f"kid: {len(images)} drawing(s) to compare; at least two are needed.")
        for sample in samples:
            if not sample.pictures:
                raise DataError(f"kid: sample {sample.id!r} has no target image to compare with.")

        real = [np.asarray(load(sample.pictures[0])) for sample in samples]
        filled = [np.zeros_like(y) if x is None else x for x, y in zip(images, real, strict=True)]
        x, y = judge.features(filled), judge.features(real)
        parts = _subsets(len(samples), self.subset_size)
        return ratios.with_ones([value for part in parts for value in _influence(x[part], y[part])])

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The distance (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)

    def signature(self, samples: Sequence[Sample]) -> str:
        """The model whose features are compared, the kernel, and the number of images."""
        judge = judges.needed(_NAME, self.judge)
        size = min(self.subset_size, len(samples)) or len(samples)
        return f"{judges.signature(judge)}|kernel:cubic|subsets:{size}|images:{len(samples)}"


def _subsets(count: int, size: int) -> list[slice]:
    """Consecutive subsets of at least `size` samples, or all of them."""
    number = max(1, count // size) if size else 1
    edges = [count * place // number for place in range(number + 1)]
    return [slice(low, high) for low, high in pairwise(edges)]


def _influence(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What each pair of a drawing and a real image adds to the distance, R, given their features R D."""
    compared = _kernel(x, x) + _kernel(y, y) - _kernel(x, y) - _kernel(y, x)
    np.fill_diagonal(compared, 0)
    own = compared.sum(1) / (len(x) - 1)
    found: np.ndarray = 2 * own - own.mean()
    return found


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    found: np.ndarray = (x @ y.T / x.shape[1] + 1) ** _DEGREE
    return found
