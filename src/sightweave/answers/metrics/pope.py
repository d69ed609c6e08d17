"""POPE: yes-or-no questions on whether an object is in the image, to measure object hallucination.

Evaluating Object Hallucination in Large Vision-Language Models (Li et al. 2023, arXiv:2305.10355), section 5.
The score is the accuracy; precision, recall, F1 and the share of yes are in ``Pope.totals``. Yes is the positive class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from sightweave.answers.scoring import ratios, unspaced_scripts
from sightweave.core.config import config
from sightweave.core.errors import DataError
from sightweave.core.types import Sample
from sightweave.data.phrasing import stated_answers

Parser = Literal["official", "exact", "stated"]
PARSERS = ("official", "exact", "stated")
_NO = frozenset({"No", "not", "no"})
_YES_WORDS = (
    "yes yeah yep true correct ja jawohl oui s\u00ed si sim \u662f \u662f\u7684 \u6709 \u6709\u7684 "
    "\u5bf9 \u5c0d \u5b58\u5728 \u306f\u3044 \u3042\u308a\u307e\u3059 \u3044\u307e\u3059 \ub124 \uc608"
)
_NO_WORDS = (
    "no nope false incorrect nein non n\u00e3o nao net \u5426 \u4e0d \u4e0d\u662f \u4e0d\u662f\u7684 "
    "\u6ca1\u6709 \u6c92\u6709 \u4e0d\u5bf9 \u4e0d\u5b58\u5728 \u3044\u3044\u3048 "
    "\u3042\u308a\u307e\u305b\u3093 \u3044\u307e\u305b\u3093 \uc544\ub2c8\uc694 \uc544\ub2c8\uc624"
)
_WORDS = dict.fromkeys(_YES_WORDS.split(), "yes") | dict.fromkeys(_NO_WORDS.split(), "no")
"""Words for yes and no in English, German, French, Spanish, Portuguese, Chinese, Japanese and Korean."""

_UNSPACED = sorted(filter(unspaced_scripts.LETTER.match, _WORDS), key=len, reverse=True)
_FIRST = re.compile(rf"[\W_]*({'|'.join(map(re.escape, _UNSPACED))}|[^\W\d_]+)")
"""Matches the first word of a text; in scripts without spaces, the longest word of `_UNSPACED` at its start."""
_CLEAR = re.compile(r"\b(yes|nein)\b|\bthere(?:['\u2019]s|\s+(?:is|are|was|were))\s+(no)\b(?!\s+doubt)")
"""Words that have one meaning anywhere in a text; "no" alone may refer to anything ("a dog with no tail")."""

_ANY_NO = re.compile(r"\bno\b", re.IGNORECASE)


@config
class Config:
    """Options of POPE."""

    parser: Parser = "official"
    """Parser of the answers. ``official`` (the authors', AoiDragon/POPE): ``no`` if a word before the first full stop
    is No, not or no, else ``yes``, so that every answer is read as one of them. ``exact`` (lmms-eval's): the whole
    answer is yes or no. ``stated`` (Sightweave's): what is stated last (``the answer is no``, a box, a tag) or first,
    in several languages; if neither is yes or no, the answer is unread."""

    def build(self) -> Pope:
        """Builds the metric."""
        return Pope(parser=self.parser)


class Pope:
    """The share of right answers to questions on objects in an image.

    Args:
        parser: ``official``, ``exact`` or ``stated``; see `Config`.

    Raises:
        ValueError: `parser` has any other value.
    """

    is_proportion = False

    def __init__(self, *, parser: Parser = "official") -> None:
        if parser not in PARSERS:
            raise ValueError(f"pope: parser must be official, exact or stated (got {parser!r}).")
        self.parser = parser

    def read(self, answer: str) -> str:
        """Reads an answer as ``yes`` or ``no``; parsers other than ``official`` return other text if it is neither."""
        if self.parser == "exact":
            return answer.lower().strip()
        if self.parser == "stated":
            return _stated_answer(answer) or answer

        words = answer.split(".")[0].replace(",", "").split(" ")
        return "no" if _NO.intersection(words) else "yes"

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 5: right yes, wrong yes, right no, wrong no (1 or 0 each), and 1.

        An answer that could not be parsed (None) is wrong, and neither yes nor no.

        Raises:
            DataError: there is not exactly one prediction per sample, or a reference is neither yes nor no.
        """
        ratios.check("pope", predictions, samples)

        rows = np.zeros((len(samples), 5))
        rows[:, 4] = 1
        for row, answer, sample in zip(rows, predictions, samples, strict=True):
            truth = _truth(sample)
            given = None if answer is None else self.read(answer)
            if given in ("yes", "no"):
                row[2 * (given == "no") + (given != truth)] = 1

        return rows

    def reads(self, answer: str, sample: Sample) -> bool:
        """Whether an answer can be read as yes or no."""
        return self.read(answer) in ("yes", "no")

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The accuracy (shape ``...``) from summed rows (shape ``... 5``); NaN where there are no rows."""
        return self.totals(sums)["accuracy"]

    def totals(self, sums: np.ndarray) -> dict[str, np.ndarray]:
        """``accuracy``, ``precision``, ``recall``, ``f1`` and ``yes_ratio`` (each ``...``) from summed rows (``... 5``).

        ``yes_ratio`` is the share of all answers that are yes. A number is NaN where its denominator is 0, such as the
        precision of a model that never says yes.
        """
        sums = np.asarray(sums, dtype=np.float64)
        right_yes, wrong_yes, right_no, wrong_no, count = np.moveaxis(sums, -1, 0)

        return {
            "accuracy": ratios.ratio(right_yes + right_no, count),
            "precision": ratios.ratio(right_yes, right_yes + wrong_yes),
            "recall": ratios.ratio(right_yes, right_yes + wrong_no),
            "f1": ratios.ratio(2 * right_yes, 2 * right_yes + wrong_yes + wrong_no),
            "yes_ratio": ratios.ratio(right_yes + wrong_yes, count),
        }


def _stated_answer(answer: str) -> str | None:
    """``yes`` or ``no``, read from the last statement, else the first word, else any clear word; None if unclear."""
    text = stated_answers.plain(answer)
    statements = [statement.text for statement in stated_answers.statements(text)]
    for candidate in (*reversed(statements), text):
        first = _first(candidate)
        if first:
            return first

    clear = {_WORDS[yes or no] for yes, no in _CLEAR.findall(text.casefold())}
    if "yes" in clear and _ANY_NO.search(text):
        return None

    return clear.pop() if len(clear) == 1 else None


def _first(text: str) -> str | None:
    """``yes`` or ``no`` according to the first word of a text; None if it is neither."""
    word = _FIRST.match(text.casefold())
    return _WORDS.get(word[1]) if word else None


def _truth(sample: Sample) -> str:
    """The right answer, ``yes`` or ``no``.

    Raises:
        DataError: the references are not exactly one of yes and no.
    """
    truths = {ratios.fold(reference) for reference in sample.references}
    if len(truths) != 1 or not truths <= {"yes", "no"}:
        raise DataError(
            f"pope: the reference of sample {sample.id!r} must be yes or no (got {sample.references!r}); "
            "pope scores questions about whether an object is present. For other questions use exact_match."
        )

    return truths.pop()
