"""What the caption metrics share: checked inputs as lists of tokens, and counts of n-grams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sightweave.answers.metrics import _ptb
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

Ngram = tuple[str, ...]


def tokenised(
    metric: str, predictions: Sequence[str | None], samples: Sequence[Sample]
) -> list[tuple[str, list[str]]]:
    """The PTB tokens of each answer and of all its references, as texts with single spaces.

    An answer that could not be parsed (None) is an empty one.

    Args:
        metric: Name for messages.
        predictions: Answers.
        samples: What they answer, in the same order.

    Raises:
        DataError: not one prediction per sample, or a sample without references.
    """
    check(metric, predictions, samples)
    return [
        (_ptb.tokenise(answer or ""), [_ptb.tokenise(reference) for reference in sample.references])
        for answer, sample in zip(predictions, samples, strict=True)
    ]


def check(metric: str, predictions: Sequence[str | None], samples: Sequence[Sample]) -> None:
    """Refuses inputs that a metric of captions cannot use.

    Raises:
        DataError: not one prediction per sample, or a sample without references.
    """
    if len(predictions) != len(samples):
        raise DataError(
            f"{metric}: {len(predictions)} prediction(s) for {len(samples)} sample(s); give one for each, in order."
        )
    bare = [sample for sample in samples if not sample.references]
    if bare:
        raise DataError(
            f"{metric}: {len(bare)} of {len(samples)} samples have no reference, the first being {bare[0].id!r}; "
            "leave them out or add their references."
        )


def count(tokens: Sequence[str], num: int) -> list[Counter[Ngram]]:
    """How often each n-gram occurs, one counter for each n from 1 to `num`."""
    return [Counter(zip(*(tokens[start:] for start in range(n)), strict=False)) for n in range(1, num + 1)]
