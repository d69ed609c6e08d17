"""Structure-BLEU: BLEU of the texts of an answer's regions, each compared with the reference's text in the same place.

As PATIMT-Bench (arXiv:2509.12278) describes it: boxes match at an intersection over union of 0.5; the texts of the
matching regions are joined in the order of the reference, and corpus BLEU is computed. A missing or misplaced region thus
has no words.
Differs from the usual BLEU-4 in that orders for which the texts are too short are left out, because signs rarely have four
words; this is sacreBLEU's option ``effective_order``, applied to the whole corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sightweave.answers.scoring import ratios, region_matching, sacre
from sightweave.core.config import config
from sightweave.core.text_regions import TextRegion
from sightweave.core.types import Sample

_ORDERS = 4
_COLUMNS = 3 + 2 * _ORDERS
_IOU = 0.5


@config
class Config:
    """Options of Structure-BLEU."""

    lowercase: bool = False
    """Whether to ignore case."""

    def build(self) -> StructureBleu:
        """Builds the metric."""
        return StructureBleu(lowercase=self.lowercase)


class StructureBleu:
    """Corpus BLEU over the texts of matching regions, 0 to 1.

    Args:
        lowercase: Whether to ignore case.
    """

    is_proportion = False

    def __init__(self, *, lowercase: bool = False) -> None:
        self.lowercase = lowercase

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 22: tokens of answer and reference, matching and all 1- to 4-grams, and 1.

        The last 11 columns are the same for a copy of the words in the image (``tags["source"]``), and 0 if they are not
        known. The row of a sample whose reference has no regions is 0.

        Raises:
            DataError: there is not exactly one prediction per sample, a sample has no reference, or no reference has
                regions.
        """
        ratios.check("structure_bleu", predictions, samples)
        references = region_matching.reference_regions("structure_bleu", samples)

        is_known = [bool(reference) for reference in references]
        has_source = [
            known and "source" in sample.tags for known, sample in zip(is_known, samples, strict=True)
        ]
        copies = [sample.tags.get("source") for sample in samples]
        ours = self._statistics(predictions, samples, references, is_known)
        return np.hstack([ours, self._statistics(copies, samples, references, has_source)])

    def _statistics(
        self,
        predictions: Sequence[str | None],
        samples: Sequence[Sample],
        references: Sequence[Sequence[TextRegion]],
        counts: Sequence[bool],
    ) -> np.ndarray:
        """A row per answer, float64 R 11; 0 for samples that do not count."""
        from sacrebleu.metrics.bleu import BLEU

        answers, joined = [], []
        for prediction, reference, sample in zip(predictions, references, samples, strict=True):
            answer, expected = _in_order(prediction, reference)
            answers.append(answer)
            joined.append(replace(sample, references=(expected,)))

        rows = np.zeros((len(samples), _COLUMNS))
        by_tokenizer: dict[str, list[int]] = {}
        for number, sample in enumerate(samples):
            if counts[number]:
                by_tokenizer.setdefault(_tokenizer(sample), []).append(number)
        for name, numbers in by_tokenizer.items():
            scorer = BLEU(tokenize=name, lowercase=self.lowercase, force=True)
            chosen = [joined[number] for number in numbers]
            rows[numbers] = sacre.segment_rows(scorer, [answers[number] for number in numbers], chosen)
        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The score (0 to 1, shape ``...``) from summed rows (shape ``... 22``); NaN for sums over no rows."""
        return _bleu(np.asarray(sums, dtype=np.float64)[..., :_COLUMNS])

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``copy_of_source``: the score of repeating the words in the image untranslated; NaN if they are not known."""
        return {"copy_of_source": _bleu(np.asarray(sums, dtype=np.float64)[..., _COLUMNS:])}


def _bleu(sums: np.ndarray) -> np.ndarray:
    """BLEU over the orders that occur, with shape ``...``, from summed rows with shape ``... 11``."""
    answer_length, reference_length = sums[..., 0], sums[..., 1]
    matches, grams = sums[..., 2 : 2 + _ORDERS], sums[..., 2 + _ORDERS : -1]

    # Exponential smoothing, and the geometric mean over the orders that occur.
    misses = np.cumsum((matches == 0) & (grams > 0), axis=-1)
    precision = np.where(matches > 0, matches, 0.5**misses) / np.maximum(grams, 1)
    num_orders = np.maximum((grams > 0).sum(-1), 1)
    logs = np.where(grams > 0, np.log(precision), 0.0).sum(-1) / num_orders

    brevity = np.minimum(1.0, np.exp(1 - reference_length / np.maximum(answer_length, 1)))
    score = np.where(matches.sum(-1) > 0, brevity * np.exp(logs), 0.0)
    found: np.ndarray = np.where(sums[..., -1] > 0, score, np.nan)
    return found


def _in_order(prediction: str | None, reference: Sequence[TextRegion]) -> tuple[str, str]:
    """The texts of an answer's matching regions and of the reference, each joined in the order of the reference."""
    found = region_matching.answer_regions(prediction)
    places = {place: number for number, place in region_matching.matched(found, reference, _IOU)}
    texts = [found[places[place]].text for place in range(len(reference)) if place in places]
    expected = [region.text for region in reference]
    return " ".join(" ".join(texts).split()), " ".join(" ".join(expected).split())


def _tokenizer(sample: Sample) -> str:
    """SacreBLEU's tokenizer for a sample: characters for languages that are written without spaces."""
    language = sacre.target_language(sample)
    if language == "zh":
        return "zh"
    return "char" if language in sacre.UNSPACED else "13a"
