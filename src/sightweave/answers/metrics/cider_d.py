"""CIDEr-D: how alike a caption and its references are in the word sequences that few pictures share.

CIDEr: Consensus-based Image Description Evaluation (Vedantam et al. 2015, arXiv:1411.5726), section 6 (CIDEr-D), as
COCO's caption evaluation computes it (github.com/salaniz/pycocoevalcap ad63453): PTB tokens without punctuation, no
stemming, times 10. Differs from the paper: the length penalty compares numbers of word pairs, one less than words.

The score depends on the pictures that it is computed over, since word sequences are weighed by how few of them share
them: compare only scores over the same pictures, or freeze the frequencies in a file (`df_path`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from sightweave.answers.scoring import ngrams
from sightweave.answers.scoring.frequencies import Frequencies
from sightweave.core.config import config, place
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

MAX_N = 4
"""Longest word sequence."""
SIGMA = 6.0
"""Width of the length penalty, in word pairs."""
FEW_PICTURES = 10
"""With fewer pictures, nearly all weights are near 0 and the score says nothing; with one it is 0 for any caption."""


@config
class Config:
    """Where the document frequencies come from."""

    df_path: Annotated[str, place()] = ""
    """A JSON file of frozen document frequencies, as `Frequencies.save` writes it; empty means those of the
    references that are evaluated."""

    def build(self) -> CiderD:
        """The metric.

        Raises:
            DataError: the file cannot be read or is no file of frequencies.
        """
        return CiderD(frequencies=Frequencies.load(Path(self.df_path)) if self.df_path else None)


class CiderD:
    """The mean over answers of 10 x the mean, over n = 1..4 and over references, of clipped cosines of n-grams.

    The scale is the published one: 0 to 10, where 10 is an answer equal to each of its references. For vectors g of
    tf x idf, the similarity of answer h and reference r is exp(-(l_h - l_r)^2 / (2 sigma^2)) * sum min(g_h, g_r) g_r /
    (|g_h| |g_r|), with l the number of word pairs and idf = log D - log max(1, df).

    Args:
        frequencies: Frozen document frequencies; None takes those of the references in `rows`.
    """

    is_proportion = False
    best = 10.0

    def __init__(self, *, frequencies: Frequencies | None = None) -> None:
        self.frequencies = frequencies

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 2: (score, 1). An answer that could not be parsed (None) is an empty one and scores 0.

        A document is a picture (`Sample.group`) with the references of all its samples.

        Raises:
            DataError: not one prediction per sample, a sample without references, or references of fewer than ten
                pictures and no frozen frequencies.
        """
        texts = ngrams.tokenised("cider_d", predictions, samples)
        frequencies = self.frequencies or _counted(texts, samples)
        scores = [_score(answer, references, frequencies) for answer, references in texts]
        return np.stack([np.array(scores, dtype=np.float64), np.ones(len(scores))], axis=1)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean score (0 to 10), from sums ``... 2``: shape ``...``; NaN where there are no rows."""
        sums = np.asarray(sums, dtype=np.float64)
        mean = np.full(sums.shape[:-1], np.nan)
        np.divide(sums[..., 0], sums[..., 1], out=mean, where=sums[..., 1] > 0)
        return mean

    def signature(self, samples: Sequence[Sample]) -> str:
        """Which tokens were compared, where they are not the usual PTB tokens."""
        return ngrams.signature(samples)


def frequencies_of(samples: Sequence[Sample]) -> Frequencies:
    """The document frequencies of the samples' references, to be frozen in a file.

    Raises:
        DataError: a sample without references.
    """
    texts = ngrams.tokenised("cider_d", [None] * len(samples), samples)
    return _frequencies(texts, samples)


def _counted(texts: Sequence[tuple[str, list[str]]], samples: Sequence[Sample]) -> Frequencies:
    found = _frequencies(texts, samples)
    if samples and found.pictures < FEW_PICTURES:
        raise DataError(
            f"cider_d: references of only {found.pictures} image(s), but it weights words by how few images share them "
            f"and needs at least {FEW_PICTURES} (a perfect caption of a single image scores 0). Evaluate more "
            "images, or set df_path to the document frequencies of a larger dataset."
        )
    return found


def _frequencies(texts: Sequence[tuple[str, list[str]]], samples: Sequence[Sample]) -> Frequencies:
    documents: dict[str, set[ngrams.Ngram]] = {}
    for sample, (_, references) in zip(samples, texts, strict=True):
        document = documents.setdefault(sample.group or sample.id, set())
        for reference in references:
            document.update(*ngrams.count(reference.split(), MAX_N))
    counts: Counter[ngrams.Ngram] = Counter()
    for document in documents.values():
        counts.update(document)
    return Frequencies(len(documents), counts)


_Vector = tuple[list[dict[ngrams.Ngram, float]], list[float], int]
"""Weights and their norms for each n, and the number of word pairs."""


def _vector(text: str, frequencies: Frequencies) -> _Vector:
    counts = ngrams.count(text.split(), MAX_N)
    weights = [{ngram: times * frequencies.rarity(ngram) for ngram, times in each.items()} for each in counts]
    norms = [math.sqrt(sum(weight**2 for weight in each.values())) for each in weights]
    return weights, norms, counts[1].total()


def _score(answer: str, references: Sequence[str], frequencies: Frequencies) -> float:
    said = _vector(answer, frequencies)
    alike = sum(_similarity(said, _vector(reference, frequencies)) for reference in references)
    return 10.0 * alike / MAX_N / len(references)


def _similarity(said: _Vector, wanted: _Vector) -> float:
    """The sum over n of the clipped cosines, with the length penalty."""
    penalty = math.exp(-((said[2] - wanted[2]) ** 2) / (2 * SIGMA**2))
    cosines = 0.0
    for mine, theirs, my_norm, their_norm in zip(said[0], wanted[0], said[1], wanted[1], strict=True):
        if my_norm and their_norm:
            common = sum(
                min(weight, theirs[ngram]) * theirs[ngram]
                for ngram, weight in mine.items()
                if ngram in theirs
            )
            cosines += common / (my_norm * their_norm)
    return cosines * penalty
