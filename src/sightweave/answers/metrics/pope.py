"""POPE: whether a model says that things are in a picture which are not; yes or no.

Evaluating Object Hallucination in Large Vision-Language Models (Li et al. 2023, arXiv:2305.10355), section 5.
The score is the accuracy; precision, recall, F1 and how often yes is said are in ``Pope.totals``. Yes is the positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sightweave.answers.metrics import _shares
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

Parser = Literal["official", "exact"]
_NO = frozenset({"No", "not", "no"})


@config
class Config:
    """How yes and no are read in an answer."""

    parser: Parser = "official"
    """``official`` (the authors', AoiDragon/POPE): before the first full stop, ``no`` if a word is No, not or no, and
    ``yes`` otherwise. ``exact`` (lmms-eval's): the whole answer is yes or no."""

    def build(self) -> Pope:
        """The metric."""
        return Pope(parser=self.parser)


class Pope:
    """The share of questions on things in a picture that are answered right.

    Args:
        parser: ``official`` or ``exact``, see ``read``.

    Raises:
        ValueError: another parser.
    """

    is_proportion = False

    def __init__(self, *, parser: Parser = "official") -> None:
        if parser not in ("official", "exact"):
            raise ValueError(f"pope: parser must be official or exact (got {parser!r}).")
        self.parser = parser

    def read(self, answer: str) -> str:
        """``yes`` or ``no``; with ``exact`` also any other text as it is, which is wrong and counts as neither."""
        if self.parser == "exact":
            return answer.lower().strip()
        words = answer.split(".")[0].replace(",", "").split(" ")
        return "no" if _NO.intersection(words) else "yes"

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 5: yes said rightly, yes said wrongly, no said rightly, no said wrongly (1 or 0 each), and 1.

        An answer that could not be parsed (None) is wrong, and neither yes nor no.

        Raises:
            DataError: not one prediction per sample, or a reference that is neither yes nor no.
        """
        _shares.check("pope", predictions, samples)
        found = np.zeros((len(samples), 5))
        found[:, 4] = 1
        for row, answer, sample in zip(found, predictions, samples, strict=True):
            truth = _truth(sample)
            said = None if answer is None else self.read(answer)
            if said in ("yes", "no"):
                row[2 * (said == "no") + (said != truth)] = 1
        return found

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The accuracy, from sums ``... 5``: shape ``...``; NaN where there are no rows."""
        return self.totals(sums)["accuracy"]

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``accuracy``, ``precision``, ``recall``, ``f1`` and ``yes_ratio``, each ``...``, from sums ``... 5``.

        ``yes_ratio`` is the share of all answers that say yes. NaN where there is nothing to divide by, such as the
        precision of a model that never says yes.
        """
        right_yes, wrong_yes, right_no, wrong_no, count = np.moveaxis(
            np.asarray(sums, dtype=np.float64), -1, 0
        )
        return {
            "accuracy": _shares.ratio(right_yes + right_no, count),
            "precision": _shares.ratio(right_yes, right_yes + wrong_yes),
            "recall": _shares.ratio(right_yes, right_yes + wrong_no),
            "f1": _shares.ratio(2 * right_yes, 2 * right_yes + wrong_yes + wrong_no),
            "yes_ratio": _shares.ratio(right_yes + wrong_yes, count),
        }


def _truth(sample: Sample) -> str:
    truths = {_shares.fold(reference) for reference in sample.references}
    if len(truths) != 1 or not truths <= {"yes", "no"}:
        raise DataError(
            f"pope: the reference of sample {sample.id!r} must be yes or no (got {sample.references!r}); "
            "pope scores questions on whether a thing is there. For other questions use exact_match."
        )
    return truths.pop()
