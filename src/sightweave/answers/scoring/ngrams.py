"""What the caption metrics share: checked inputs as lists of tokens, and counts of n-grams."""

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
    """The tokens of each answer and of all its references, as texts with single spaces.

    They are PTB tokens. Where the references are written without spaces between words (Chinese, Japanese, Thai and
    others), each character of such a script is a token, and punctuation of any script is left out. An answer that could
    not be parsed (None) is an empty one.

    Args:
        metric: Name for messages.
        predictions: Answers.
        samples: What they answer, in the same order.

    Raises:
        DataError: not one prediction per sample, or a sample without references.
    """
    check(metric, predictions, samples)
    found = []
    for answer, sample in zip(predictions, samples, strict=True):
        tokenise = _characters if unspaced_scripts.unspaced(sample.references) else ptb.tokenise
        found.append((tokenise(answer or ""), [tokenise(reference) for reference in sample.references]))
    return found


def check_english(metric: str, samples: Sequence[Sample]) -> None:
    """Refuses captions that are certainly not English, for metrics that know English words alone.

    Raises:
        DataError: references written without spaces between words.
    """
    scripts = [unspaced_scripts.unspaced(sample.references) for sample in samples]
    foreign = [sample.id for sample, script in zip(samples, scripts, strict=True) if script]
    if foreign:
        raise DataError(
            f"{metric}: not computed: it supports English only, but the references of {len(foreign)} of "
            f"{len(samples)} samples are not English ({', '.join(sorted(set(filter(None, scripts))))} characters), the "
            f"first being {foreign[0]!r}. cider_d, bleu and rouge_l score such captions by character."
        )


def signature(samples: Sequence[Sample]) -> str:
    """Which tokens were compared, where they are not PTB tokens alone; empty otherwise."""
    is_cut = [bool(unspaced_scripts.unspaced(sample.references)) for sample in samples]
    if not any(is_cut):
        return ""
    return "tok:char" if all(is_cut) else f"tok:char for {sum(is_cut)} of {len(samples)}, else ptb"


def _characters(text: str) -> str:
    tokens = ptb.tokenise(unspaced_scripts.cut(text)).split(" ")
    return " ".join(token for token in tokens if not unspaced_scripts.is_punctuation(token))


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
            "remove them or add references."
        )


def count(tokens: Sequence[str], num: int) -> list[Counter[Ngram]]:
    """How often each n-gram occurs, one counter for each n from 1 to `num`."""
    return [Counter(zip(*(tokens[start:] for start in range(n)), strict=False)) for n in range(1, num + 1)]
