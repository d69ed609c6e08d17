"""Shared by the caption metrics: input checks, tokenization and n-gram counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sightweave.answers.scoring import ptb, unspaced_scripts
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

Ngram = tuple[str, ...]


def tokenised(
    metric: str, predictions: Sequence[str | None], samples: Sequence[Sample]
) -> list[tuple[str, list[str]]]:
    """The tokens of each answer and of all its references, joined by single spaces.

    These are PTB tokens. If the references are written without spaces between words (Chinese, Japanese, Thai and
    others), each character of such a script is a token, and punctuation of any script is removed. An answer that could
    not be parsed (None) counts as empty.

    Args:
        metric: Name of the metric, for error messages.
        predictions: The answers.
        samples: The samples they answer, in the same order.

    Raises:
        DataError: there is not exactly one prediction per sample, or a sample has no references.
    """
    check(metric, predictions, samples)

    pairs = []
    for answer, sample in zip(predictions, samples, strict=True):
        tokenise = _characters if unspaced_scripts.unspaced(sample.references) else ptb.tokenise
        references = [tokenise(reference) for reference in sample.references]
        pairs.append((tokenise(answer or ""), references))

    return pairs


def check_english(metric: str, samples: Sequence[Sample]) -> None:
    """Rejects captions that are clearly not English, for metrics that support only English.

    Raises:
        DataError: references are written without spaces between words.
    """
    foreign = []
    scripts = set()
    for sample in samples:
        script = unspaced_scripts.unspaced(sample.references)
        if script:
            foreign.append(sample.id)
            scripts.add(script)

    if foreign:
        raise DataError(
            f"{metric}: not computed: it supports English only, but the references of {len(foreign)} of "
            f"{len(samples)} samples are not English ({', '.join(sorted(scripts))} characters), the "
            f"first being {foreign[0]!r}. cider_d, bleu and rouge_l score such captions by character."
        )


def signature(samples: Sequence[Sample]) -> str:
    """A note on the tokens that were compared, such as ``tok:char``; empty if all are PTB tokens."""
    num_cut = sum(bool(unspaced_scripts.unspaced(sample.references)) for sample in samples)
    if not num_cut:
        return ""

    return "tok:char" if num_cut == len(samples) else f"tok:char for {num_cut} of {len(samples)}, else ptb"


def _characters(text: str) -> str:
    """Tokenizes a text with each character of an unspaced script as a token, and removes punctuation."""
    tokens = ptb.tokenise(unspaced_scripts.cut(text)).split(" ")
    return " ".join(token for token in tokens if not unspaced_scripts.is_punctuation(token))


def check(metric: str, predictions: Sequence[str | None], samples: Sequence[Sample]) -> None:
    """Rejects inputs that a caption metric cannot use.

    Raises:
        DataError: there is not exactly one prediction per sample, or a sample has no references.
    """
    if len(predictions) != len(samples):
        raise DataError(
            f"{metric}: {len(predictions)} prediction(s) for {len(samples)} sample(s); give one for each, in order."
        )

    empty = [sample for sample in samples if not sample.references]
    if empty:
        raise DataError(
            f"{metric}: {len(empty)} of {len(samples)} samples have no reference, the first being {empty[0].id!r}; "
            "remove them or add references."
        )


def count(tokens: Sequence[str], num: int) -> list[Counter[Ngram]]:
    """Counts n-grams; returns one counter for each n from 1 to `num`."""
    counters = []
    shifted: list[Sequence[str]] = []
    for n in range(num):
        shifted.append(tokens[n:])
        counters.append(Counter(zip(*shifted, strict=False)))

    return counters
