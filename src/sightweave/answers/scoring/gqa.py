"""What GQA's metrics share: which questions count, what kind they are, and the file of possible answers.

GQA: A New Dataset for Real-World Visual Reasoning (Hudson and Manning 2019, arXiv:1902.09506), section 4.4. Published
numbers count the balanced questions alone, so a sample with the tag ``balanced: false`` adds nothing anywhere. Answers
are compared without regard to case and white space; the authors' script compares them letter by letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.answers.scoring import ratios
from sightweave.core.errors import DataError
from sightweave.core.types import Sample
from sightweave.data.reading import json_stream

BALANCED = "balanced"
"""``false`` on a question outside the balanced ones."""
STRUCTURE = "type"
"""What an answer is like: ``query`` is open, all others are answered by yes, no or one of two named things."""
STRUCTURES = ("choose", "compare", "logical", "query", "verify")
DETAIL = "detailed"
"""The finest type of a question, such as ``twoCommon``."""
OPEN = "query"
_COMMON = frozenset({"color", "material", "shape"})
"""What two things may have in common: the answers to a question whose finest type says ``Common``."""


def counted(
    metric: str, predictions: Sequence[str | None], samples: Sequence[Sample], tag: str
) -> list[bool]:
    """For each sample, whether it counts.

    Raises:
        DataError: not one prediction per sample, a sample without a reference, or one that counts without the tag.
    """
    ratios.check(metric, predictions, samples)
    counts = [sample.tags.get(BALANCED) != "false" for sample in samples]
    bare = [
        one.id
        for one, is_counted in zip(samples, counts, strict=True)
        if is_counted and not one.tags.get(tag)
    ]
    if bare:
        raise DataError(
            f"{metric}: {len(bare)} of {len(samples)} samples have no tag {tag!r}, the first being {bare[0]!r}; GQA's "
            "question files have it, except for the test split. Remove this metric for other data."
        )
    return counts


class AccuracyByStructure:
    """The share of right answers among the open questions, or among those with two answers to choose from.

    Args:
        metric: Its name, for messages.
        is_open: Whether the open questions count, or the others.
    """

    is_proportion = True

    def __init__(self, *, metric: str, is_open: bool) -> None:
        self.metric = metric
        self.is_open = is_open

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 2: (1 if right else 0, 1) for a question of this kind, (0, 0) for others. None is wrong.

        Raises:
            DataError: as `counted`, by the tag ``type``, or a type that is none of GQA's.
        """
        counts = counted(self.metric, predictions, samples, STRUCTURE)
        for sample, is_counted in zip(samples, counts, strict=True):
            if is_counted and sample.tags[STRUCTURE] not in STRUCTURES:
                raise DataError(
                    f"{self.metric}: sample {sample.id!r} is of type {sample.tags[STRUCTURE]!r}; GQA's questions are of "
                    f"one of {', '.join(STRUCTURES)}. Remove this metric for other data."
                )
        found = np.zeros((len(samples), 2))
        for row, answer, sample, is_counted in zip(found, predictions, samples, counts, strict=True):
            if is_counted and (sample.tags[STRUCTURE] == OPEN) is self.is_open:
                row[:] = ratios.is_right(answer, sample), 1
        return found

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share that is right, from sums ``... 2``: shape ``...``; NaN where no question is of this kind."""
        return ratios.mean(sums)

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``all_questions``: the share over all of them, as published; tables else show means over their types."""
        return {"all_questions": self.total(sums)}


class AmongChoices:
    """The share of answers that stand in a question's list in the official file of choices.

    Args:
        metric: Its name, for messages.
        field: Which list: ``valid`` or ``plausible``.
        path: The file, such as ``val_choices.json``; empty where none was named.
    """

    is_proportion = True

    def __init__(self, *, metric: str, field: str, path: str) -> None:
        self.metric = metric
        self.field = field
        self.path = path
        self._known: dict[str, frozenset[str]] = {}

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """float64 R 2: (1 if the answer is in the list else 0, 1), (0, 0) for a question that does not count.

        An answer that could not be parsed (None) is in no list. What two things have in common may be a colour,
        a material or a shape, whatever the file says, as in the authors' script.

        Raises:
            DataError: as `counted`, by the tag ``detailed``; no file of choices, a damaged one, or one that lacks
                questions.
        """
        counts = counted(self.metric, predictions, samples, DETAIL)
        lists = self._lists({one.id for one, is_counted in zip(samples, counts, strict=True) if is_counted})
        found = np.zeros((len(samples), 2))
        for row, answer, sample, is_counted in zip(found, predictions, samples, counts, strict=True):
            if is_counted:
                allowed = _COMMON if "Common" in sample.tags[DETAIL] else lists[sample.id]
                row[:] = answer is not None and ratios.fold(answer) in allowed, 1
        return found

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share, from sums ``... 2``: shape ``...``; NaN where no question counts."""
        return ratios.mean(sums)

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``all_questions``: the share over all of them, as published; tables else show means over their types."""
        return {"all_questions": self.total(sums)}

    def _lists(self, ids: set[str]) -> dict[str, frozenset[str]]:
        """The folded answers of each question; the file is read once for the same questions."""
        if not ids <= self._known.keys():
            if not self.path:
                raise DataError(
                    f"{self.metric}: `choices` is not set; set it to the path of GQA's file for the split, "
                    "such as eval/val_choices.json."
                )
            self._known = self._read(Path(self.path).expanduser(), ids)
        return self._known

    def _read(self, path: Path, ids: set[str]) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        # Few lists are different ones, and a split has a hundred thousand questions: equal lists are held once.
        same: dict[frozenset[str], frozenset[str]] = {}
        try:
            for key, value in json_stream.members(path):
                if key not in ids:
                    continue
                if key in found:
                    raise DataError(f"{path}: question {key!r} appears twice.")
                answers = self._answers(path, key, value)
                found[key] = same.setdefault(answers, answers)
        except DataError as error:
            raise DataError(f"{self.metric}: {error}") from None
        absent = sorted(ids - found.keys())
        if absent:
            raise DataError(
                f"{self.metric}: {path} lacks {len(absent)} of {len(ids)} questions, the first being {absent[0]!r}; "
                "use the file of the same split as the questions."
            )
        return found

    def _answers(self, path: Path, key: str, value: Any) -> frozenset[str]:
        answers = value.get(self.field) if isinstance(value, dict) else None
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            raise DataError(
                f"{path}: question {key!r} has no list of texts under {self.field!r}; expected a file of GQA's choices, "
                f'{{"question id": {{"valid": [...], "plausible": [...]}}}}.'
            )
        return frozenset(map(ratios.fold, answers))
