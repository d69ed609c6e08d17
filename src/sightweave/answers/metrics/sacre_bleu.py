"""Corpus BLEU as sacreBLEU computes it: the share of the translations' n-grams that are in their references.

BLEU: a Method for Automatic Evaluation of Machine Translation (Papineni et al. 2002, doi:10.3115/1073083.1073135); A
Call for Clarity in Reporting BLEU Scores (Post 2018, arXiv:1804.08771). The tokens and counts are the library's own;
the score is its formula, vectorized over many sums. Differs from the library in its scale, 0 to 1 instead of 0 to 100.
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
"""The tokenizers of sacreBLEU that need no download, and ``auto``."""
_BY_LANGUAGE = {**dict.fromkeys(sacre.UNSPACED, "char"), "zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
_ORDERS = 4


@config
class Config:
    """Options of sacreBLEU."""

    tokenize: str = "auto"
    """Tokenizer: 13a, intl, zh, ja-mecab, ko-mecab, char, none, or ``auto``, which chooses by the target language in
    tags["languages"]: zh for Chinese, ja-mecab for Japanese, ko-mecab for Korean, char for Thai and other languages
    written without spaces, otherwise 13a."""
    lowercase: bool = False
    """Whether to ignore case; published scores are case-sensitive."""

    def build(self) -> SacreBleu:
        """Builds the metric."""
        return SacreBleu(tokenize=self.tokenize, lowercase=self.lowercase)


class SacreBleu:
    """Corpus BLEU-4 with exponential smoothing (0 to 1); the brevity penalty uses the closest reference length.

    BLEU = min(1, exp(1 - reference length / answer length)) * (p_1 p_2 p_3 p_4)^(1/4), where p_n is the number of
    matching n-grams divided by that of all n-grams of the answers. The k-th order without any match has p_n = 1 / (2^k
    all) instead. A corpus without a single matching word, or without any 4-gram, scores 0.

    Args:
        tokenize: One of `TOKENIZERS`.
        lowercase: Whether to ignore case.

    Raises:
        RecipeError: `tokenize` is unknown.
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
        """A row per answer, float64 R 11: tokens of answer and reference, matching and all 1- to 4-grams, and 1.

        An answer that could not be parsed (None) is an empty translation.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has no reference.
            BackendError: the library that a tokenizer needs is not installed.
        """
        sacre.check("sacre_bleu", predictions, samples)

        by_tokenizer: dict[str, list[int]] = {}
        for number, sample in enumerate(samples):
            by_tokenizer.setdefault(self._tokenizer(sample), []).append(number)

        rows = np.zeros((len(samples), 3 + 2 * _ORDERS))
        for name, numbers in by_tokenizer.items():
            answers = [predictions[number] for number in numbers]
            answered = [samples[number] for number in numbers]
            rows[numbers] = sacre.segment_rows(self._scorer(name), answers, answered)

        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """BLEU (0 to 1, shape ``...``) from summed rows (shape ``... 11``); NaN for sums over no rows."""
        sums = np.asarray(sums, dtype=np.float64)
        answer_length, reference_length, count = sums[..., 0], sums[..., 1], sums[..., -1]
        matches, grams = sums[..., 2 : 2 + _ORDERS], sums[..., 2 + _ORDERS : -1]

        misses = np.cumsum(matches == 0, axis=-1)
        precision = np.where(matches > 0, matches, 0.5**misses) / np.maximum(grams, 1)
        score = _brevity(answer_length, reference_length) * np.exp(np.log(precision).mean(-1))

        # Despite the smoothing, a corpus without a matching word or without any 4-gram scores 0.
        score = np.where((matches.sum(-1) > 0) & (grams > 0).all(-1), score, 0.0)
        return np.where(count > 0, score, np.nan)

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``effective_order``: BLEU over the orders that occur, if the answers are too short for some; else NaN.

        This is the library's option of the same name. Answers of fewer than four tokens have no 4-gram, so their BLEU
        is 0 even if every answer equals its reference.
        """
        sums = np.asarray(sums, dtype=np.float64)
        answer_length, reference_length = sums[..., 0], sums[..., 1]
        matches, grams = sums[..., 2 : 2 + _ORDERS], sums[..., 2 + _ORDERS : -1]

        misses = np.cumsum((matches == 0) & (grams > 0), axis=-1)
        precision = np.where(matches > 0, matches, 0.5**misses) / np.maximum(grams, 1)
        num_orders = np.maximum((grams > 0).sum(-1), 1)
        logs = np.where(grams > 0, np.log(precision), 0.0).sum(-1) / num_orders

        score = _brevity(answer_length, reference_length) * np.exp(logs)
        score = np.where(matches.sum(-1) > 0, score, 0.0)
        return {"effective_order": np.where((answer_length > 0) & (grams[..., -1] == 0), score, np.nan)}

    def signature(self, samples: Sequence[Sample]) -> str:
        """SacreBLEU's signature of the score on these samples.

        If several target languages need different tokenizers, there is one signature for each, joined by `` + ``.
        """
        by_tokenizer: dict[str, list[Sample]] = {}
        for sample in samples:
            by_tokenizer.setdefault(self._tokenizer(sample), []).append(sample)

        signatures = [
            sacre.signature(self._scorer(name), by_tokenizer[name]) for name in sorted(by_tokenizer)
        ]
        return " + ".join(signatures)

    def _tokenizer(self, sample: Sample) -> str:
        """Name of the tokenizer for a sample."""
        if self.tokenize != "auto":
            return self.tokenize

        return _BY_LANGUAGE.get(sacre.target_language(sample), "13a")

    def _scorer(self, name: str) -> BLEU:
        from sacrebleu.metrics.bleu import BLEU

        try:
            # `force` only silences a warning about tokenized text, which recommends an option that we do not have.
            return BLEU(tokenize=name, lowercase=self.lowercase, force=True)
        except RuntimeError:  # raised by the library if MeCab is not installed
            raise BackendError(
                f"sacre_bleu: not computed: the tokenizer {name!r} needs MeCab, which is not installed; "
                f'run `pip install "sacrebleu[{name[:2]}]"`, or set tokenize: char.'
            ) from None


def _brevity(answer_length: np.ndarray, reference_length: np.ndarray) -> np.ndarray:
    """The brevity penalty of arrays of lengths of the same shape, elementwise."""
    penalty: np.ndarray = np.minimum(1.0, np.exp(1 - reference_length / np.maximum(answer_length, 1)))
    return penalty
