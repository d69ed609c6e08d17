"""Drawn attributes: whether a drawing has the things, colours, sizes, numbers and order that its description names.

Another trained model, the judge, answers questions about the drawing whose answers follow from the description. The score is
the mean over the kinds of questions. GenEval (Ghosh et al. 2023, arXiv:2310.11513) uses an object detector, and TIFA (Hu et
al. 2023, arXiv:2303.11897) asks a question answering model, as is done here.

A judge makes mistakes, so two other numbers belong to the score: the ceiling is the judge's score on the real images of the
same descriptions, and the floor is that of drawings of other descriptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightweave.answers.scoring import judges, ratios
from sightweave.answers.scoring import pictures as drawn
from sightweave.answers.scoring.judges import Judge
from sightweave.answers.scoring.pictures import Pixels
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import CHECKED, Check, Sample
from sightweave.data.inputs.image_files import load

_NAME = "drawn_attributes"
_NUM_SHIFTED = 1
"""Distance of the drawing that is judged for the floor, in samples."""


@config
class Config:
    """Options of the drawn attributes."""

    judge: str
    """Folder of the run that answers the questions. It should have been trained on question answering with images like the
    drawn ones, and not be the model that drew them."""

    def build(self) -> DrawnAttributes:
        """Builds the metric; an evaluation loads its judge."""
        return DrawnAttributes(judged_by=self.judge)


class DrawnAttributes:
    """The share of questions about drawings that the judge answers as the descriptions say, averaged over their kinds.

    Args:
        judged_by: Folder of the judge's run.
        judge: The judge; an evaluation sets it.
    """

    is_proportion = False
    of_pictures = True

    def __init__(self, *, judged_by: str = "", judge: Judge | None = None) -> None:
        self.judged_by, self.judge = judged_by, judge

    def rows(self, predictions: Sequence[Any], samples: Sequence[Sample]) -> np.ndarray:
        """A row per drawing, float64 R 4A, for A kinds of questions.

        The row counts the questions of each kind that are right, all of them, those right on the real image, and those
        right on the drawing of another description. A missing drawing (None) is wrong.

        Raises:
            DataError: there is not exactly one image per sample, one is no image, there is no judge, or a sample has no
                questions or no real image.
        """
        judge = judges.needed(_NAME, self.judge)
        images = drawn.check(_NAME, predictions, samples)
        for sample in samples:
            if not sample.checks or not sample.pictures:
                raise DataError(
                    f"{_NAME}: sample {sample.id!r} has {len(sample.checks)} question(s) and {len(sample.pictures)} target "
                    "image(s); both are needed, which the drawings of generated scenes have."
                )

        real = [np.asarray(load(sample.pictures[0])) for sample in samples]
        others = [*images[_NUM_SHIFTED:], *images[:_NUM_SHIFTED]]
        right = self._right(judge, images, samples)
        asked = _counts(samples, [[True] * len(sample.checks) for sample in samples])
        ceiling = self._right(judge, real, samples)
        floor = self._right(judge, others, samples)
        return np.concatenate((right, asked, ceiling, floor), axis=1)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean over the kinds of questions (shape ``...``) from summed rows (shape ``... 4A``); NaN without any."""
        right, asked, _, _ = _split(sums)
        return _mean(right, asked)

    def totals(self, sums: np.ndarray) -> dict[str, float]:
        """The share of each kind of question, and the ceiling and the floor of the score and of each kind."""
        right, asked, ceiling, floor = _split(sums)
        found = {"ceiling": float(_mean(ceiling, asked)), "floor": float(_mean(floor, asked))}
        for number, aspect in enumerate(CHECKED):
            if asked[number]:
                found[aspect] = float(right[number] / asked[number])
                found[f"{aspect}, ceiling"] = float(ceiling[number] / asked[number])
                found[f"{aspect}, floor"] = float(floor[number] / asked[number])
        return found

    def signature(self, samples: Sequence[Sample]) -> str:
        """The judge, and the number of its questions."""
        judge = judges.needed(_NAME, self.judge)
        return f"{judges.signature(judge)}|questions:{sum(len(sample.checks) for sample in samples)}"

    @staticmethod
    def _right(judge: Judge, images: Sequence[Pixels | None], samples: Sequence[Sample]) -> np.ndarray:
        """Number of right answers of each kind about each image, R A."""
        shown: list[Pixels] = []
        asked: list[Check] = []
        for image, sample in zip(images, samples, strict=True):
            if image is not None:
                shown += [image] * len(sample.checks)
                asked += sample.checks
        answers = iter(judge.answer(shown, asked))

        are_right = []
        for image, sample in zip(images, samples, strict=True):
            here = [None if image is None else next(answers) for _ in sample.checks]
            are_right.append([_is_right(one, check) for one, check in zip(here, sample.checks, strict=True)])
        return _counts(samples, are_right)


def _is_right(answer: str | None, check: Check) -> bool:
    return answer is not None and ratios.fold(answer) == ratios.fold(check.answer)


def _counts(samples: Sequence[Sample], chosen: Sequence[Sequence[bool]]) -> np.ndarray:
    """Number of chosen questions of each kind, R A."""
    counts = np.zeros((len(samples), len(CHECKED)))
    for row, (sample, here) in enumerate(zip(samples, chosen, strict=True)):
        for check, is_chosen in zip(sample.checks, here, strict=True):
            counts[row, CHECKED.index(check.aspect)] += is_chosen
    return counts


def _split(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Right, asked, ceiling and floor, each ``... A``."""
    parts = np.asarray(sums, dtype=np.float64)
    right, asked, ceiling, floor = np.moveaxis(parts.reshape(*parts.shape[:-1], 4, -1), -2, 0)
    return right, asked, ceiling, floor


def _mean(right: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The unweighted mean over the kinds that were asked; NaN if none was."""
    shares = right / np.maximum(asked, 1)
    kinds = (asked > 0).sum(-1)
    return np.where(kinds > 0, shares.sum(-1) / np.maximum(kinds, 1), np.nan)
