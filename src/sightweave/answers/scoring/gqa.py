"""Shared by GQA's metrics: selection of the questions that count, their types, and the file of possible answers.

GQA: A New Dataset for Real-World Visual Reasoning (Hudson and Manning 2019, arXiv:1902.09506), section 4.4. Published
numbers count only the balanced questions, so samples tagged ``balanced: false`` are ignored. Answers are compared
without regard to case and white space; the authors' script compares them exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightweave.answers.scoring import ratios
from sightweave.core.errors import DataError
from sightweave.core.types import Sample
from sightweave.data.reading import json_stream

BALANCED = "balanced"
"""Tag that is ``false`` on questions outside the balanced set."""
STRUCTURE = "type"
"""Tag with the structural type: ``query`` is open; all others are answered with yes, no or one of two named things."""
STRUCTURES = ("choose", "compare", "logical", "query", "verify")
DETAIL = "detailed"
"""Tag with the detailed type of a question, such as ``twoCommon``."""
OPEN = "query"
_COMMON = frozenset({"color", "material", "shape"})
"""Properties that two things may have in common: the answers to questions whose detailed type contains ``Common``."""


def counted(
    metric: str, predictions: Sequence[str | None], samples: Sequence[Sample], tag: str
) -> list[bool]:
    """Whether each sample counts, that is, whether it is one of the balanced questions.

    Raises:
        DataError: there is not exactly one prediction per sample, a sample has no reference, or a sample that counts
            lacks the tag.
    """
    ratios.check(metric, predictions, samples)

    counts = [sample.tags.get(BALANCED) != "false" for sample in samples]
    untagged = []
    for sample, is_counted in zip(samples, counts, strict=True):
        if is_counted and not sample.tags.get(tag):
            untagged.append(sample.id)

    if untagged:
        raise DataError(
            f"{metric}: {len(untagged)} of {len(samples)} samples have no tag {tag!r}, the first being {untagged[0]!r}; "
            "GQA's question files have it, except for the test split. Remove this metric for other data."
        )

    return counts


class AccuracyByStructure:
    """The share of right answers among the open questions, or among the binary ones.

    Args:
        metric: Name of the metric, for error messages.
        is_open: Whether to score the open questions; otherwise the binary ones.
    """

    is_proportion = True

    def __init__(self, *, metric: str, is_open: bool) -> None:
        self.metric = metric
        self.is_open = is_open

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per question, float64 R 2: (1 if right else 0, 1) for questions of this kind, (0, 0) for others.

        An answer that could not be parsed (None) is wrong.

        Raises:
            DataError: as raised by `counted` for the tag ``type``, or a type is not one of GQA's.
        """
        counts = counted(self.metric, predictions, samples, STRUCTURE)

        for sample, is_counted in zip(samples, counts, strict=True):
            if is_counted and sample.tags[STRUCTURE] not in STRUCTURES:
                raise DataError(
                    f"{self.metric}: sample {sample.id!r} is of type {sample.tags[STRUCTURE]!r}; GQA's questions are of "
                    f"one of {', '.join(STRUCTURES)}. Remove this metric for other data."
                )

        rows = np.zeros((len(samples), 2))
        for row, answer, sample, is_counted in zip(rows, predictions, samples, counts, strict=True):
            if is_counted and (sample.tags[STRUCTURE] == OPEN) is self.is_open:
                row[:] = ratios.is_right(answer, sample), 1

        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of right answers (shape ``...``) from summed rows (shape ``... 2``); NaN if there are none."""
        return ratios.mean(sums)

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``all_questions``: the share over all questions, as published; tables otherwise average over question types."""
        return {"all_questions": self.total(sums)}


class AmongChoices:
    """The share of answers that are in the question's list in the official choices file.

    Args:
        metric: Name of the metric, for error messages.
        field: Which list: ``valid`` or ``plausible``.
        path: The choices file, such as ``val_choices.json``; empty if none was given.
    """

    is_proportion = True

    def __init__(self, *, metric: str, field: str, path: str) -> None:
        self.metric = metric
        self.field = field
        self.path = path
        self._known: dict[str, frozenset[str]] = {}

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per question, float64 R 2: (1 if the answer is in the list else 0, 1), or (0, 0) if it does not count.

        An answer that could not be parsed (None) is in no list. As in the authors' script, questions about what two
        things have in common always accept the answers color, material and shape, whatever the file says.

        Raises:
            DataError: as raised by `counted` for the tag ``detailed``, or the choices file is missing, is damaged or
                lacks questions.
        """
        counts = counted(self.metric, predictions, samples, DETAIL)
        counted_samples = itertools.compress(samples, counts)
        lists = self._lists({sample.id for sample in counted_samples})

        rows = np.zeros((len(samples), 2))
        for row, answer, sample, is_counted in zip(rows, predictions, samples, counts, strict=True):
            if is_counted:
                allowed = _COMMON if "Common" in sample.tags[DETAIL] else lists[sample.id]
                row[:] = answer is not None and ratios.fold(answer) in allowed, 1

        return rows

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The share of answers in the list (shape ``...``) from summed rows (shape ``... 2``); NaN if no question counts."""
        return ratios.mean(sums)

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``all_questions``: the share over all questions, as published; tables otherwise average over question types."""
        return {"all_questions": self.total(sums)}

    def _lists(self, ids: set[str]) -> dict[str, frozenset[str]]:
        """Maps each question's id to its folded answers; the file is read again only if `ids` has new questions."""
        if not ids <= self._known.keys():
            if not self.path:
                raise DataError(
                    f"{self.metric}: `choices` is not set; set it to the path of GQA's file for the split, "
                    "such as eval/val_choices.json."
                )
            self._known = self._read(Path(self.path).expanduser(), ids)

        return self._known

    def _read(self, path: Path, ids: set[str]) -> dict[str, frozenset[str]]:
        """Reads the folded answers of these questions from the choices file."""
        found: dict[str, frozenset[str]] = {}
        # A split has a hundred thousand questions but few distinct lists, so equal lists share one object.
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
        """The folded answers of one entry of the file."""
        answers = value.get(self.field) if isinstance(value, dict) else None
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            raise DataError(
                f"{path}: question {key!r} has no list of texts under {self.field!r}; expected a file of GQA's choices, "
                f'{{"question id": {{"valid": [...], "plausible": [...]}}}}.'
            )

        return frozenset(map(ratios.fold, answers))
