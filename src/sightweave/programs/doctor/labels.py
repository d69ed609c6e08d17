"""Measures how well answers can be guessed without the image: from their frequencies, and from the question's text."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass

_OTHERS = "(others)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeReport:
    """Statistics of all questions, or of the questions of one type."""

    count: int
    """Number of questions."""
    distinct: int
    """Number of different answers that were counted."""
    top_share: float
    """Share of the most common answer, 0 to 1."""
    entropy: float
    """Entropy of the answers in bits; 0 if all are equal."""
    commonest: tuple[tuple[str, int], ...]
    """The ten most common answers with their counts."""
    majority: float
    """Accuracy of guessing the most common answer, learnt from one half of the groups and scored on the other; NaN if a
    half is empty."""
    text_only: float
    """Accuracy of guessing from the question alone, in the same way: the most common answer to this question, else to
    its first three words, else of all."""
    is_capped: bool
    """Whether the tables were full, so that `distinct` is a lower bound and rare answers are missing."""


class Labels:
    """Counts answers one by one, in bounded memory.

    Groups (images) are split into two halves by name. Guesses learnt from one half are scored on the other and vice
    versa, so that a question that is asked twice about an image cannot be guessed from its first occurrence.

    Args:
        max_answers: Maximum number of different answers that are counted, over all types and both halves.
        max_questions: Maximum number of pairs (question or its first words, answer) for guessing from the question.
        max_types: Maximum number of question types with statistics of their own; others count only towards all.
    """

    def __init__(
        self, *, max_answers: int = 200_000, max_questions: int = 500_000, max_types: int = 100
    ) -> None:
        self._max_types = max_types
        self._all = _Tables()
        self._types: dict[str, _Tables] = {}
        self._budget = _Budget(max_answers, max_questions)

    def add(self, question: str, answer: str, group: str, *, type: str = "") -> None:
        """Counts one question; case and surrounding white space of question and answer are ignored.

        Args:
            question: Text of the question.
            answer: Main answer to the question.
            group: Name of its image, so that all questions about an image are in the same half.
            type: Type of the question, if the data has types.
        """
        half = hashlib.blake2b(group.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] & 1
        # Shorten long texts to their beginning and a digest, so that no row can fill the memory.
        question, answer = _key(question), _key(answer)
        self._all.add(question, answer, half, self._budget)
        if type and (type in self._types or len(self._types) < self._max_types):
            self._types.setdefault(type, _Tables()).add(question, answer, half, self._budget)

    def report(self) -> dict[str, TypeReport]:
        """Statistics of all questions under the name ``""``, then of each type by name; empty if nothing was added."""
        if not self._all.count:
            return {}

        reports = {"": self._all.report()}
        for name in sorted(self._types):
            reports[name] = self._types[name].report()
        return reports


class _Budget:
    """Number of entries that all tables together may still add."""

    def __init__(self, answers: int, contexts: int) -> None:
        self.answers, self.contexts = answers, contexts


class _Tables:
    """Counts for one type, by half: answers, and answers by context (a question, or its first words)."""

    def __init__(self) -> None:
        self.count = 0
        self.is_capped = False
        self.answers: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self.questions: tuple[dict[str, Counter[str]], dict[str, Counter[str]]] = ({}, {})
        self.starts: tuple[dict[str, Counter[str]], dict[str, Counter[str]]] = ({}, {})

    def add(self, question: str, answer: str, half: int, budget: _Budget) -> None:
        self.count += 1

        # Count the answer itself.
        answers = self.answers[half]
        if answer not in answers:
            if budget.answers <= 0:
                self.is_capped = True
                answer = _OTHERS
            else:
                budget.answers -= 1
        answers[answer] += 1

        # Count the answer in the context of its question, and of the question's first words.
        start = " ".join(question.split()[:3])
        for table, context in ((self.questions[half], question), (self.starts[half], start)):
            known = table.get(context)
            if known is not None and answer in known:
                known[answer] += 1
            elif budget.contexts > 0:
                budget.contexts -= 1
                table.setdefault(context, Counter())[answer] += 1
            else:
                self.is_capped = True
                if known is None:
                    known = table.get(_OTHERS) or table.setdefault(_OTHERS, Counter())
                known[answer if answer in known else _OTHERS] += 1

    def report(self) -> TypeReport:
        total = self.answers[0] + self.answers[1]
        shares = [count / self.count for count in total.values()]
        named = Counter({answer: count for answer, count in total.items() if answer != _OTHERS})
        commonest = tuple(sorted(named.items(), key=lambda pair: (-pair[1], pair[0]))[:10])

        return TypeReport(
            count=self.count,
            distinct=len(named),
            top_share=commonest[0][1] / self.count if commonest else 0.0,
            entropy=max(0.0, -sum(share * math.log2(share) for share in shares)),
            commonest=commonest,
            majority=self._accuracy(with_text=False),
            text_only=self._accuracy(with_text=True),
            is_capped=self.is_capped,
        )

    def _accuracy(self, *, with_text: bool) -> float:
        if not self.answers[0] or not self.answers[1]:
            return math.nan

        right = 0
        for learnt, scored in ((0, 1), (1, 0)):
            majority = _commonest(self.answers[learnt])
            if not with_text:
                right += self.answers[scored][majority] * (majority != _OTHERS)
                continue

            # Many questions share their first words, which have many answers: find the most common one only once.
            starts = {start: _commonest(counts) for start, counts in self.starts[learnt].items()}
            for question, answers in self.questions[scored].items():
                known = self.questions[learnt].get(question)
                guess = _commonest(known) if known else starts.get(" ".join(question.split()[:3]), majority)
                right += answers[guess] * (guess != _OTHERS)
        return right / self.count


def _commonest(counts: Counter[str]) -> str:
    """The most common answer; the alphabetically first if several are equally common, whatever the order of adding."""
    return min(counts, key=lambda answer: (-counts[answer], answer))


def _key(text: str) -> str:
    """A text in lower case with single spaces; a long text is replaced by its beginning and a digest."""
    text = " ".join(text.lower().split())
    if len(text) <= 200:
        return text
    return f"{text[:100]} {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
