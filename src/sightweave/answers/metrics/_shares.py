"""What metrics share that are means or ratios: one prediction for each sample, sums divided, texts folded."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def check(name: str, predictions: Sequence[str | None], samples: Sequence[Sample]) -> None:
    """Refuses what no metric of references can use.

    Raises:
        DataError: not one prediction per sample, or a sample without a reference.
    """
    if len(predictions) != len(samples):
        raise DataError(
            f"{name}: {len(predictions)} prediction(s) for {len(samples)} sample(s); give one for each, in order."
        )
    empty = [sample for sample in samples if not sample.references]
    if empty:
        raise DataError(
            f"{name}: {len(empty)} of {len(samples)} samples have no reference answer, the first being "
            f"{empty[0].id!r}; leave them out or add their answers."
        )


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """``top / bottom``, both of any one shape; NaN where there is nothing to divide by."""
    top, bottom = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    share = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=share, where=bottom > 0)
    return share


def mean(sums: np.ndarray) -> np.ndarray:
    """The first of two sums over the second, ``... 2`` -> ``...``; NaN where there are no rows."""
    sums = np.asarray(sums, dtype=np.float64)
    return ratio(sums[..., 0], sums[..., 1])


def with_ones(scores: Sequence[float]) -> np.ndarray:
    """float64 R 2: each score, and 1 for having been asked."""
    return np.stack([np.array(scores, dtype=np.float64), np.ones(len(scores))], axis=1)


def fold(text: str) -> str:
    """The form in which closed answers are compared: NFC, single spaces, none at the ends, no case."""
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()


def is_right(answer: str | None, sample: Sample) -> bool:
    """Whether an answer equals a reference once both are folded; None never does."""
    return answer is not None and fold(answer) in {fold(reference) for reference in sample.references}
