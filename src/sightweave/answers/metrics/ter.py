"""Translation edit rate as sacreBLEU computes it: edits that turn the answers into their references, per word.

A Study of Translation Edit Rate with Targeted Human Annotation (Snover et al. 2006, AMTA). The edits are the
library's own. An error rate: less is better, 0 is perfect, and more edits than words give more than 1. Differs from
the library: a share, not per cent; and languages written without spaces may be cut into characters first.
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
    """Whether to compare case; published scores do not."""
    normalized: bool = False
    """Whether punctuation is split from words, and marks of XML are read."""
    no_punct: bool = False
    """Whether to remove punctuation."""
    asian_support: bool = False
    """Whether `normalized` and `no_punct` reach Chinese, Japanese and Korean characters, each then a word."""
    cut: Cut = "auto"
    """``auto`` counts each character as a word where the target language in tags["languages"] is written without spaces
    (Chinese, Japanese, Thai and others), unless `asian_support` is on; ``never`` always takes what stands between
    spaces as a word, as the library does, so that such a sentence is a single word."""

    def build(self) -> Ter:
        """The metric."""
        return Ter(
            cut=self.cut,
            case_sensitive=self.case_sensitive,
            normalized=self.normalized,
            no_punct=self.no_punct,
            asian_support=self.asian_support,
        )


class Ter:
    """Insertions, deletions, substitutions and shifts of phrases, divided by the words of the references.

    Of several references, a row counts the fewest edits and the mean length.

    Args:
        case_sensitive: Whether case counts.
        normalized: Whether punctuation is split from words.
        no_punct: Whether to remove punctuation.
        asian_support: Whether the two above reach characters of East Asia.
        cut: ``auto`` or ``never``; the library's own way is ``never``.

    Raises:
        ValueError: another word for `cut`.
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
        """float64 R 3: edits, mean number of words of the references, 1.

        An answer that could not be parsed (None) is an empty translation: every word is an edit.

        Raises:
            DataError: not one prediction per sample, or a sample without a reference.
        """
        sacre.check("ter", predictions, samples)
        is_cut = [self._is_cut(sample) for sample in samples]
        answers = [
            unspaced_scripts.cut(answer) if answer and cut else answer
            for answer, cut in zip(predictions, is_cut, strict=True)
        ]
        wanted = [
            replace(sample, references=tuple(map(unspaced_scripts.cut, sample.references))) if cut else sample
            for sample, cut in zip(samples, is_cut, strict=True)
        ]
        return sacre.segment_rows(self._scorer(), answers, wanted)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """Edits per word (0 or more) of sums ``... 3``: shape ``...``; NaN where the sums are of no rows.

        Against references without a word, any edit at all is 1.
        """
        sums = np.asarray(sums, dtype=np.float64)
        edits, words = sums[..., 0], sums[..., 1]
        rate = np.where(words > 0, edits / np.where(words > 0, words, 1), np.minimum(edits, 1))
        return np.where(sums[..., -1] > 0, rate, np.nan)

    def signature(self, samples: Sequence[Sample]) -> str:
        """The signature by which sacreBLEU names a score on these samples, to be stored with it.

        Where sentences were cut into characters first, ``cut:char`` is added, with how many if not all were.
        """
        is_cut = [self._is_cut(sample) for sample in samples]
        of_all = "" if all(is_cut) else f" for {sum(is_cut)} of {len(samples)}"
        return sacre.signature(self._scorer(), samples) + (f"|cut:char{of_all}" if any(is_cut) else "")

    def _is_cut(self, sample: Sample) -> bool:
        return (
            self.cut == "auto" and not self.asian_support and sacre.target_language(sample) in sacre.UNSPACED
        )

    def _scorer(self) -> TER:
        from sacrebleu.metrics.ter import TER

        return TER(
            normalized=self.normalized,
            no_punct=self.no_punct,
            asian_support=self.asian_support,
            case_sensitive=self.case_sensitive,
        )
