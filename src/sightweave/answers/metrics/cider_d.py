"""CIDEr-D: n-gram similarity of a caption to its references, in which n-grams of few images have more weight.

CIDEr: Consensus-based Image Description Evaluation (Vedantam et al. 2015, arXiv:1411.5726), section 6 (CIDEr-D), as
COCO's caption evaluation computes it (github.com/salaniz/pycocoevalcap ad63453): PTB tokens without punctuation, no
stemming, times 10. Differs from the paper: the length penalty compares numbers of bigrams, not words.

The score depends on the set of images, because the weights of n-grams do: compare only scores over the same images, or
store the document frequencies in a file (`df_path`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from sightweave.answers.scoring import ngrams, ratios
from sightweave.answers.scoring.frequencies import Frequencies
from sightweave.core.config import config, place
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

MAX_N = 4
"""Longest n-gram."""
SIGMA = 6.0
"""Standard deviation of the Gaussian length penalty, in bigrams."""
FEW_PICTURES = 10
"""Minimum number of images. With fewer, nearly all weights are near 0, so the score is meaningless; with one it is
0."""


@config
class Config:
    """Options of CIDEr-D: the source of the document frequencies."""

    df_path: Annotated[str, place()] = ""
    """Path of a JSON file of document frequencies, as written by `Frequencies.save`; if empty, those of the evaluated
    references are used."""

    def build(self) -> CiderD:
        """Builds the metric.

        Raises:
            DataError: the file cannot be read or is not a file of frequencies.
        """
        return CiderD(frequencies=Frequencies.load(Path(self.df_path)) if self.df_path else None)


class CiderD:
    """The mean over answers of 10 x the mean, over n = 1..4 and over references, of clipped cosines of n-gram vectors.

    The scale is the published one: 0 to 10, where 10 is an answer equal to each of its references. For vectors g of
    tf x idf, the similarity of answer h and reference r is exp(-(l_h - l_r)^2 / (2 sigma^2)) * sum min(g_h, g_r) g_r /
    (|g_h| |g_r|), where l is the number of bigrams and idf = log D - log max(1, df).

    Args:
        frequencies: Precomputed document frequencies; None uses those of the references in `rows`.
    """

    is_proportion = False
    best = 10.0

    def __init__(self, *, frequencies: Frequencies | None = None) -> None:
        self.frequencies = frequencies

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 2: (score, 1). An answer that could not be parsed (None) is empty and scores 0.

        A document is an image (`Sample.group`) with the references of all its samples.

        Raises:
            DataError: there is not exactly one prediction per sample, a sample has no references, or there are
                references of fewer than ten images and no precomputed frequencies.
        """
        texts = ngrams.tokenised("cider_d", predictions, samples)
        frequencies = self.frequencies or _counted(texts, samples)

        scores = [_score(answer, references, frequencies) for answer, references in texts]
        return ratios.with_ones(scores)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean score (0 to 10, shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)

    def signature(self, samples: Sequence[Sample]) -> str:
        """A note on the tokens that were compared, such as ``tok:char``; empty if all are PTB tokens."""
        return ngrams.signature(samples)


def frequencies_of(samples: Sequence[Sample]) -> Frequencies:
    """The document frequencies of the samples' references, to be stored in a file.

    Raises:
        DataError: a sample has no references.
    """
    texts = ngrams.tokenised("cider_d", [None] * len(samples), samples)
    return _frequencies(texts, samples)


def _counted(texts: Sequence[tuple[str, list[str]]], samples: Sequence[Sample]) -> Frequencies:
    """The document frequencies of the evaluated references.

    Raises:
        DataError: there are fewer images than `FEW_PICTURES`.
    """
    frequencies = _frequencies(texts, samples)
    if samples and frequencies.pictures < FEW_PICTURES:
        raise DataError(
            f"cider_d: references of only {frequencies.pictures} image(s), but it weights words by how few images "
            f"share them and needs at least {FEW_PICTURES} (a perfect caption of a single image scores 0). Evaluate more "
            "images, or set df_path to the document frequencies of a larger dataset."
        )

    return frequencies


def _frequencies(texts: Sequence[tuple[str, list[str]]], samples: Sequence[Sample]) -> Frequencies:
    """Counts, for each n-gram, the images whose references contain it."""
    documents: dict[str, set[ngrams.Ngram]] = {}
    for sample, (_, references) in zip(samples, texts, strict=True):
        document = documents.setdefault(sample.group or sample.id, set())
        for reference in references:
            document.update(*ngrams.count(reference.split(), MAX_N))

    counts: Counter[ngrams.Ngram] = Counter()
    for document in documents.values():
        counts.update(document)

    return Frequencies(len(documents), counts)


_Weights = dict[ngrams.Ngram, float]


@dataclass(frozen=True, slots=True)
class _Vector:
    """The tf x idf vectors of a text."""

    weights: list[_Weights]
    """Weight of each n-gram, one mapping for each n."""
    norms: list[float]
    """Euclidean norm of the weights for each n."""
    num_bigrams: int


def _vector(text: str, frequencies: Frequencies) -> _Vector:
    counts = ngrams.count(text.split(), MAX_N)

    weights: list[_Weights] = []
    norms = []
    for each in counts:
        tf_idf = {ngram: times * frequencies.rarity(ngram) for ngram, times in each.items()}
        weights.append(tf_idf)
        norms.append(math.sqrt(sum(weight**2 for weight in tf_idf.values())))

    return _Vector(weights, norms, num_bigrams=counts[1].total())


def _score(answer: str, references: Sequence[str], frequencies: Frequencies) -> float:
    vector = _vector(answer, frequencies)
    similarities = sum(_similarity(vector, _vector(reference, frequencies)) for reference in references)
    return 10.0 * similarities / MAX_N / len(references)


def _similarity(answer: _Vector, reference: _Vector) -> float:
    """The sum over n of the clipped cosines, times the length penalty."""
    penalty = math.exp(-((answer.num_bigrams - reference.num_bigrams) ** 2) / (2 * SIGMA**2))

    cosines = 0.0
    for n in range(MAX_N):
        if answer.norms[n] and reference.norms[n]:
            product = _clipped_product(answer.weights[n], reference.weights[n])
            cosines += product / (answer.norms[n] * reference.norms[n])

    return cosines * penalty


def _clipped_product(answer: _Weights, reference: _Weights) -> float:
    """The dot product of two vectors, with each weight of the answer limited to that of the reference."""
    products = []
    for ngram, weight in answer.items():
        if ngram in reference:
            products.append(min(weight, reference[ngram]) * reference[ngram])

    return sum(products)
