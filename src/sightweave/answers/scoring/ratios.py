"""Shared by metrics that are means or ratios: input checks, ratios of sums, and comparison of texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def check(name: str, predictions: Sequence[str | None], samples: Sequence[Sample]) -> None:
    """Rejects inputs that metrics with references cannot use.

    Raises:
        DataError: there is not exactly one prediction per sample, or a sample has no reference.
    """
    if len(predictions) != len(samples):
        raise DataError(
            f"{name}: {len(predictions)} prediction(s) for {len(samples)} sample(s); give one for each, in order."
        )

    empty = [sample for sample in samples if not sample.references]
    if empty:
        raise DataError(
            f"{name}: {len(empty)} of {len(samples)} samples have no reference answer, the first being "
            f"{empty[0].id!r}; remove them or add answers."
        )


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Elementwise ``top / bottom`` of two arrays of the same shape; NaN where `bottom` is not positive."""
    top, bottom = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)

    share = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=share, where=bottom > 0)
    return share


def mean(sums: np.ndarray) -> np.ndarray:
    """The mean (shape ``...``) from summed rows of (score, count) (shape ``... 2``); NaN where the count is 0."""
    sums = np.asarray(sums, dtype=np.float64)
    return ratio(sums[..., 0], sums[..., 1])


def with_ones(scores: Sequence[float]) -> np.ndarray:
    """A row per sample, float64 R 2: its score, and a 1 that counts the sample."""
    return np.stack([np.array(scores, dtype=np.float64), np.ones(len(scores))], axis=1)


def fold(text: str, *, ignore_case: bool = True) -> str:
    """Normalises a text for comparison: NFC, single spaces, no spaces at the ends, case-folded if `ignore_case` is set."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return text.casefold() if ignore_case else text


def is_right(answer: str | None, sample: Sample) -> bool:
    """Whether an answer equals a reference after folding both; an answer of None never does."""
    return answer is not None and fold(answer) in map(fold, sample.references)


def is_same(answer: str | None, references: Sequence[str], *, ignore_case: bool = True) -> bool:
    """Whether an answer equals a reference, exactly or after removing final punctuation and quotes from both.

    ``Red.`` equals ``red`` and ``U.S`` equals ``U.S.``. Nothing is removed from one side alone, so an answer that
    equals a reference character by character is always right. An answer of None is never right.
    """
    if answer is None:
        return False

    folded = fold(answer, ignore_case=ignore_case)
    wanted = [fold(reference, ignore_case=ignore_case) for reference in references]
    return folded in wanted or bare(folded) in map(bare, wanted)


def bare(text: str) -> str:
    """Removes final punctuation and enclosing quotes from a text; a text that consists only of these is kept."""
    before, found = "", text.strip()
    while found != before:
        before, found = found, found.rstrip(_ENDINGS)
        if len(found) > 1 and (found[0], found[-1]) in _QUOTES:
            found = found[1:-1].strip()

    return found or text


_ENDINGS = " \t\n.\u2026!?\u3002\uff0e\uff61\uff01\uff1f\u0964"
"""Punctuation that ends a sentence, including Chinese, Japanese and Hindi marks."""
_QUOTES = frozenset(
    [
        *zip("\"'`*\u00ab\u2039", "\"'`*\u00bb\u203a", strict=True),
        *zip("\u201c\u2018\u201e\u201a\u300c\u300e", "\u201d\u2019\u201c\u2018\u300d\u300f", strict=True),
    ]
)
"""Pairs of quotes, and Markdown's asterisks."""
