"""What the three metrics of sacreBLEU share: texts in, the library's own numbers per row out.

A Call for Clarity in Reporting BLEU Scores (Post 2018, arXiv:1804.08771). The library is loaded when it is first used.
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
    """Whether these can be scored at all.

    Raises:
        DataError: not one prediction per sample, or a sample without a reference.
    """
    if len(predictions) != len(samples):
        raise DataError(
            f"{name}: {len(predictions)} prediction(s) for {len(samples)} sample(s); give one for each, in order."
        )
    bare = [sample.id for sample in samples if not sample.references]
    if bare:
        raise DataError(
            f"{name}: {len(bare)} of {len(samples)} sample(s) have no reference translation, the first being "
            f"{bare[0]!r}; remove them or add translations."
        )


def segment_rows(scorer: Scorer, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
    """float64 R K: the library's statistics of each row, and a 1 that counts the row.

    The last column tells sums of no rows from sums of empty texts. An answer that could not be parsed (None) is
    an empty translation.
    """
    if not samples:
        return np.zeros((0, num_statistics(scorer)))
    most = max(len(sample.references) for sample in samples)
    # The library takes one stream per reference; None, which its annotations leave out, fills up shorter rows.
    streams = [
        [sample.references[n] if n < len(sample.references) else None for sample in samples]
        for n in range(most)
    ]
    answers = [answer or "" for answer in predictions]
    # This step of `corpus_score` has no public name; the library's own significance tests call it too.
    found = scorer._extract_corpus_statistics(answers, cast("list[list[str]]", streams))
    return np.column_stack([np.array(found, dtype=np.float64), np.ones(len(found))])


def num_statistics(scorer: Scorer) -> int:
    """Columns of its rows, the count of rows included."""
    return len(scorer._extract_corpus_statistics([""], [[""]])[0]) + 1


def signature(scorer: Scorer, samples: Sequence[Sample]) -> str:
    """The text by which sacreBLEU says what exactly was computed, such as ``nrefs:1|case:mixed|...|version:2.6.0``."""
    counts = {len(sample.references) for sample in samples}
    scorer.num_refs = counts.pop() if len(counts) == 1 else -1  # the library sets it where it scores
    return str(scorer.get_signature())


def target_language(sample: Sample) -> str:
    """The two-letter code of the language translated into, from ``tags["languages"]`` such as ``en-zh``.

    Scripts and regions are passed over: ``en-zh-Hant`` and ``en-zh_CN`` are Chinese, and so is ``en-zho``. Where no
    languages are tagged, the script of the references tells languages that are written without spaces; else empty.
    """
    pieces = sample.tags.get("languages", "").replace("_", "-").split("-")
    codes = [piece for piece in pieces if piece.isalpha() and piece.islower() and len(piece) in (2, 3)]
    if len(codes) > 1:
        return _SAME.get(codes[-1], codes[-1])
    return _OF_SCRIPT.get(unspaced_scripts.unspaced(sample.references), "")


UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my", "bo", "dz"})
"""Languages that are written without spaces between words (Tibetan and Dzongkha part syllables by a mark)."""
_SAME = {
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
"""Three-letter codes, and Chinese languages with codes of their own, to those by which tokens are chosen."""
_OF_SCRIPT = {
    "Han": "zh",
    "Japanese": "ja",
    "Thai": "th",
    "Lao": "lo",
    "Khmer": "km",
    "Burmese": "my",
    "Tibetan": "bo",
}
