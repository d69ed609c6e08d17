"""Translation edit rate as sacreBLEU computes it: edits that turn the answers into their references, per word.

A Study of Translation Edit Rate with Targeted Human Annotation (Snover et al. 2006, AMTA). The edits are the library's
own. This is an error rate: lower is better, 0 is perfect, and more edits than words give more than 1. Differs from the
library: the score is a fraction instead of a percentage, and languages written without spaces may be split into
characters first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from sightweave.answers.scoring import sacre, unspaced_scripts
from sightweave.core.config import config
from sightweave.core.types import Sample

if TYPE_CHECKING:
    from sacrebleu.metrics.ter import TER

Cut = Literal["auto", "never"]


@config
class Config:
    """Options of TER."""

    case_sensitive: bool = False
    """Whether to distinguish case; published scores ignore it."""
    normalized: bool = False
    """Whether to split punctuation from words and to decode XML entities."""
    no_punct: bool = False
    """Whether to remove punctuation."""
    asian_support: bool = False
    """Whether `normalized` and `no_punct` also apply to Chinese, Japanese and Korean text, each character as a word."""
    cut: Cut = "auto"
    """Whether to count characters as words: ``auto`` does so if the target language in tags["languages"] is written
    without spaces (Chinese, Japanese, Thai and others), unless `asian_support` is on; ``never`` always splits at spaces,
    as the library does, so that such a sentence is a single word."""

    def build(self) -> Ter:
        """Builds the metric."""
        return Ter(
            cut=self.cut,
            case_sensitive=self.case_sensitive,
            normalized=self.normalized,
            no_punct=self.no_punct,
            asian_support=self.asian_support,
        )


class Ter:
    """Translation edit rate: insertions, deletions, substitutions and shifts of phrases per word of the references.

    With several references, the lowest number of edits and the mean length count.

    Args:
        case_sensitive: Whether to distinguish case.
        normalized: Whether to split punctuation from words and to decode XML entities.
        no_punct: Whether to remove punctuation.
        asian_support: Whether the two above also apply to East Asian characters.
        cut: ``auto`` or ``never``; the library's own behaviour is ``never``.

    Raises:
        ValueError: `cut` has any other value.
    """

    is_proportion = False
    less_is_better = True

    def __init__(
        self,
        *,
        case_sensitive: bool = False,
        normalized: bool = False,
        no_punct: bool = False,
        asian_support: bool = False,
        cut: Cut = "never",
    ) -> None:
        if cut not in ("auto", "never"):
            raise ValueError(f"ter: cut must be auto or never (got {cut!r}).")
        self.case_sensitive = case_sensitive
        self.normalized = normalized
        self.no_punct = no_punct
        self.asian_support = asian_support
        self.cut = cut

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 3: edits, mean number of words of the references, and 1.

        An answer that could not be parsed (None) is an empty translation: every word is an edit.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample has no reference.
        """
        sacre.check("ter", predictions, samples)

        answers = []
        split_samples = []
        for answer, sample in zip(predictions, samples, strict=True):
            if self._is_cut(sample):
                references = tuple(map(unspaced_scripts.cut, sample.references))
                answers.append(unspaced_scripts.cut(answer or ""))
                split_samples.append(replace(sample, references=references))
            else:
                answers.append(answer or "")
                split_samples.append(sample)

        return sacre.segment_rows(self._scorer(), answers, split_samples)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """Edits per word (0 or more, shape ``...``) from summed rows (shape ``... 3``); NaN for sums over no rows.

        If the references have no words, any edits at all give a rate of 1.
        """
        sums = np.asarray(sums, dtype=np.float64)
        edits, words = sums[..., 0], sums[..., 1]

        rate = np.where(words > 0, edits / np.where(words > 0, words, 1), np.minimum(edits, 1))
        return np.where(sums[..., -1] > 0, rate, np.nan)

    def signature(self, samples: Sequence[Sample]) -> str:
        """SacreBLEU's signature of the score on these samples.

        If sentences were split into characters first, ``cut:char`` is added, with their number unless it applies to
        all.
        """
        signature = sacre.signature(self._scorer(), samples)
        num_cut = sum(self._is_cut(sample) for sample in samples)
        if not num_cut:
            return signature

        how_many = "" if num_cut == len(samples) else f" for {num_cut} of {len(samples)}"
        return f"{signature}|cut:char{how_many}"

    def _is_cut(self, sample: Sample) -> bool:
        """Whether to split the texts of a sample into characters."""
        if self.cut == "never" or self.asian_support:
            return False

        return sacre.target_language(sample) in sacre.UNSPACED

    def _scorer(self) -> TER:
        from sacrebleu.metrics.ter import TER

        return TER(
            normalized=self.normalized,
            no_punct=self.no_punct,
            asian_support=self.asian_support,
            case_sensitive=self.case_sensitive,
        )
