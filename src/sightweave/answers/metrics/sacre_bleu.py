"""BLEU as sacreBLEU computes it: how many n-grams of a whole set of translations are in their references.

BLEU: a Method for Automatic Evaluation of Machine Translation (Papineni et al. 2002, doi:10.3115/1073083.1073135);
A Call for Clarity in Reporting BLEU Scores (Post 2018, arXiv:1804.08771). The tokens and counts are the library's
own, the score of their sums is its formula for many sums at once. Differs from the library: 0 to 1, not 0 to 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightweave.answers.scoring import sacre
from sightweave.core.config import config
from sightweave.core.errors import BackendError, RecipeError, did_you_mean
from sightweave.core.types import Sample

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

TOKENIZERS = ("auto", "13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none")
"""Those of sacreBLEU that need no download, and ``auto``."""
_BY_LANGUAGE = {**dict.fromkeys(sacre.UNSPACED, "char"), "zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
_ORDERS = 4


@config
class Config:
    """Options of sacreBLEU."""

    tokenize: str = "auto"
    """``auto`` (by the target language in tags["languages"]: zh for Chinese, ja-mecab for Japanese, ko-mecab for
    Korean, char for Thai and other languages written without spaces, else 13a), 13a, intl, zh, ja-mecab, ko-mecab,
    char or none."""
    lowercase: bool = False
    """Whether to ignore case; published scores do not."""

    def build(self) -> SacreBleu:
        """The metric."""
        return SacreBleu(tokenize=self.tokenize, lowercase=self.lowercase)


class SacreBleu:
    """BLEU-4 of a corpus with exponential smoothing (0 to 1), the closest reference's length for the brevity penalty.

    With p_n = matching / all n-grams of the answers, for the k-th n without any match p_n = 1 / (2^k all):
    BLEU = min(1, exp(1 - reference length / answer length)) * (p_1 p_2 p_3 p_4)^(1/4).
    A corpus without a single matching word, or without any 4-gram, scores 0.

    Args:
        tokenize: One of `TOKENIZERS`.
        lowercase: Whether case is ignored.

    Raises:
        RecipeError: an unknown tokenizer.
    """

    is_proportion = False

    def __init__(self, *, tokenize: str = "auto", lowercase: bool = False) -> None:
        if tokenize not in TOKENIZERS:
            raise RecipeError(
                f"sacre_bleu.tokenize: no tokenizer {tokenize!r}. {did_you_mean(tokenize, TOKENIZERS)}"
            )
        self.tokenize = tokenize
        self.lowercase = lowercase

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 11: tokens of the answer and of the reference; matching and all 1- to 4-grams; 1.

        An answer that could not be parsed (None) is an empty translation.

        Raises:
            DataError: not one prediction per sample, or a sample without a reference.
            BackendError: a tokenizer's own library is missing.
        """
        sacre.check("sacre_bleu", predictions, samples)
        names = [self._tokenizer(sample) for sample in samples]
        rows = np.zeros((len(samples), 3 + 2 * _ORDERS))
        for name in dict.fromkeys(names):
            here = [number for number, other in enumerate(names) if other == name]
            rows[here] = sacre.segment_rows(
                self._scorer(name), [predictions[n] for n in here], [samples[n] for n in here]
            )
        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """BLEU (0 to 1) of sums ``... 11``: shape ``...``; NaN where the sums are of no rows."""
        sums = np.asarray(sums, dtype=np.float64)
        said, wanted, count = sums[..., 0], sums[..., 1], sums[..., -1]
        matches, grams = sums[..., 2 : 2 + _ORDERS], sums[..., 2 + _ORDERS : -1]
        misses = np.cumsum(matches == 0, axis=-1)
        precision = np.where(matches > 0, matches, 0.5**misses) / np.maximum(grams, 1)
        brevity = np.minimum(1.0, np.exp(1 - wanted / np.maximum(said, 1)))
        score = brevity * np.exp(np.log(precision).mean(-1))
        # No matching word is 0 whatever the smoothing; so is a corpus too short for any 4-gram.
        score = np.where((matches.sum(-1) > 0) & (grams > 0).all(-1), score, 0.0)
        return np.where(count > 0, score, np.nan)

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``effective_order``: BLEU of the orders that occur, where the answers are too short for some; else NaN.

        The library's option of that name. Answers of under four tokens have no 4-gram, so their BLEU is 0 even where
        each equals its reference.
        """
        sums = np.asarray(sums, dtype=np.float64)
        said, wanted = sums[..., 0], sums[..., 1]
        matches, grams = sums[..., 2 : 2 + _ORDERS], sums[..., 2 + _ORDERS : -1]
        misses = np.cumsum((matches == 0) & (grams > 0), axis=-1)
        precision = np.where(matches > 0, matches, 0.5**misses) / np.maximum(grams, 1)
        logs = np.where(grams > 0, np.log(precision), 0.0).sum(-1) / np.maximum((grams > 0).sum(-1), 1)
        score = np.minimum(1.0, np.exp(1 - wanted / np.maximum(said, 1))) * np.exp(logs)
        score = np.where(matches.sum(-1) > 0, score, 0.0)
        return {"effective_order": np.where((said > 0) & (grams[..., -1] == 0), score, np.nan)}

    def signature(self, samples: Sequence[Sample]) -> str:
        """The signature by which sacreBLEU names a score on these samples, to be stored with it.

        Where several target languages need several tokenizers, one signature for each, joined by `` + ``.
        """
        parts: dict[str, list[Sample]] = {}
        for sample in samples:
            parts.setdefault(self._tokenizer(sample), []).append(sample)
        return " + ".join(sacre.signature(self._scorer(name), parts[name]) for name in sorted(parts))

    def _tokenizer(self, sample: Sample) -> str:
        if self.tokenize != "auto":
            return self.tokenize
        return _BY_LANGUAGE.get(sacre.target_language(sample), "13a")

    def _scorer(self, name: str) -> BLEU:
        from sacrebleu.metrics.bleu import BLEU

        try:
            # `force` only silences advice on tokenized texts that names an option which is not ours.
            return BLEU(tokenize=name, lowercase=self.lowercase, force=True)
        except RuntimeError:  # the library's way of saying that MeCab is not installed
            raise BackendError(
                f"sacre_bleu: not computed: the tokenizer {name!r} needs MeCab, which is not installed; "
                f'run `pip install "sacrebleu[{name[:2]}]"`, or set tokenize: char.'
            ) from None
