"""Shared by the three sacreBLEU metrics: input checks, and the library's own statistics for each row.

A Call for Clarity in Reporting BLEU Scores (Post 2018, arXiv:1804.08771). The library is imported when it is first
used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from sightweave.answers.scoring import unspaced_scripts
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as Scorer


def check(name: str, predictions: Sequence[str | None], samples: Sequence[Sample]) -> None:
    """Rejects inputs that a translation metric cannot use.

    Raises:
        DataError: there is not exactly one prediction per sample, or a sample has no reference.
    """
    if len(predictions) != len(samples):
        raise DataError(
            f"{name}: {len(predictions)} prediction(s) for {len(samples)} sample(s); give one for each, in order."
        )

    empty = [sample.id for sample in samples if not sample.references]
    if empty:
        raise DataError(
            f"{name}: {len(empty)} of {len(samples)} sample(s) have no reference translation, the first being "
            f"{empty[0]!r}; remove them or add translations."
        )


def segment_rows(scorer: Scorer, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
    """A row per sample, float64 R K: the library's K - 1 statistics, and a 1 that counts the sample.

    The last column distinguishes sums over no rows from sums over empty texts. An answer that could not be parsed
    (None) counts as an empty translation.
    """
    if not samples:
        return np.zeros((0, num_statistics(scorer)))

    answers = [answer or "" for answer in predictions]

    # The library takes one stream per reference. None, which its annotations do not mention, pads the shorter rows.
    most = max(len(sample.references) for sample in samples)
    streams: list[list[str | None]] = [[] for _ in range(most)]
    for sample in samples:
        for n, stream in enumerate(streams):
            stream.append(sample.references[n] if n < len(sample.references) else None)

    # This step of `corpus_score` has no public name; the library's own significance tests call it too.
    statistics = scorer._extract_corpus_statistics(answers, cast("list[list[str]]", streams))
    return np.column_stack([np.array(statistics, dtype=np.float64), np.ones(len(statistics))])


def num_statistics(scorer: Scorer) -> int:
    """Number of columns of `segment_rows`, including the count of rows."""
    return len(scorer._extract_corpus_statistics([""], [[""]])[0]) + 1


def signature(scorer: Scorer, samples: Sequence[Sample]) -> str:
    """SacreBLEU's description of exactly what was computed, such as ``nrefs:1|case:mixed|...|version:2.6.0``."""
    counts = {len(sample.references) for sample in samples}
    # The library sets this attribute only when it scores.
    scorer.num_refs = counts.pop() if len(counts) == 1 else -1
    return str(scorer.get_signature())


def target_language(sample: Sample) -> str:
    """The two-letter code of the target language, from ``tags["languages"]`` such as ``en-zh``; empty if unknown.

    Scripts and regions are ignored: ``en-zh-Hant`` and ``en-zh_CN`` are Chinese, and so is ``en-zho``. If no languages
    are tagged, a language written without spaces is recognised by the script of the references.
    """
    pieces = sample.tags.get("languages", "").replace("_", "-").split("-")
    codes = [piece for piece in pieces if piece.isalpha() and piece.islower() and len(piece) in (2, 3)]
    if len(codes) > 1:
        return _TWO_LETTERS.get(codes[-1], codes[-1])

    return _BY_SCRIPT.get(unspaced_scripts.unspaced(sample.references), "")


UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my", "bo", "dz"})
"""Languages that are written without spaces between words (Tibetan and Dzongkha separate syllables by a mark)."""
_TWO_LETTERS = {
    **dict.fromkeys(("zho", "chi", "cmn", "yue", "wuu", "nan", "hak", "lzh"), "zh"),
    "jpn": "ja",
    "kor": "ko",
    "tha": "th",
    "lao": "lo",
    "khm": "km",
    "mya": "my",
    "bur": "my",
    "bod": "bo",
    "tib": "bo",
    "dzo": "dz",
}
"""Maps three-letter codes, including those of Chinese languages, to the codes that select a tokenizer."""
_BY_SCRIPT = {
    "Han": "zh",
    "Japanese": "ja",
    "Thai": "th",
    "Lao": "lo",
    "Khmer": "km",
    "Burmese": "my",
    "Tibetan": "bo",
}
