"""How far answers can be guessed without a picture: from their frequencies, and from the question's words alone."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass

_OTHERS = "(others)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeReport:
    """Numbers of all questions, or of those of one type."""

    count: int
    """Questions."""
    distinct: int
    """Different answers, as far as they were counted."""
    top_share: float
    """Share of the commonest answer, 0 to 1."""
    entropy: float
    """Of the answers, in bits; 0 where all are alike."""
    commonest: tuple[tuple[str, int], ...]
    """The ten commonest answers with their counts."""
    majority: float
    """Accuracy of the commonest answer of one half of the groups on the other half; NaN where a half is empty."""
    text_only: float
    """The same for the commonest answer to that question, else to its first three words, else of all."""
    is_capped: bool
    """Whether there was more than the tables hold, so that `distinct` is a lower bound and rare answers were left out."""


class Labels:
    """Counts answers one by one, in bounded memory.

    Groups (pictures) fall into two halves by their name. What is learnt on one half is scored on the other and the other
    way round, so that a question asked of one picture twice teaches nothing about itself.

    Args:
        max_answers: Different answers that are counted, over all types and both halves.
        max_questions: Pairs of (question or its first words, answer) that are kept for the text-only guess, likewise.
        max_types: Question types with numbers of their own; later ones count only for all.
    """

    def __init__(
        self, *, max_answers: int = 200_000, max_questions: int = 500_000, max_types: int = 100
    ) -> None:
        self._max_types = max_types
        self._all = _Tables()
        self._types: dict[str, _Tables] = {}
        self._budget = _Budget(max_answers, max_questions)

    def add(self, question: str, answer: str, group: str, *, type: str = "") -> None:
        """Counts one question; case and outer blanks of question and answer do not matter.

        Args:
            question: Its text.
            answer: Its main answer.
            group: Which picture, so that questions about one stay in one half.
            type: The question's type, where the data has one.
        """
        half = hashlib.blake2b(group.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] & 1
        # Long texts are told by their beginning and a digest, so that no row can fill the memory.
        question, answer = _key(question), _key(answer)
        self._all.add(question, answer, half, self._budget)
        if type and (type in self._types or len(self._types) < self._max_types):
            self._types.setdefault(type, _Tables()).add(question, answer, half, self._budget)

    def report(self) -> dict[str, TypeReport]:
        """All questions under the name ``""``, then each type by name; empty where nothing was added."""
        if not self._all.count:
            return {}
        return {"": self._all.report(), **{name: self._types[name].report() for name in sorted(self._types)}}


class _Budget:
    """Entries that all tables together may still take."""

    def __init__(self, answers: int, contexts: int) -> None:
        self.answers, self.contexts = answers, contexts


class _Tables:
    """Counts of one type, by half: answers, and answers in each context (a question, or its first words)."""

    def __init__(self) -> None:
        self.count = 0
        self.is_capped = False
        self.answers: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self.questions: tuple[dict[str, Counter[str]], dict[str, Counter[str]]] = ({}, {})
        self.starts: tuple[dict[str, Counter[str]], dict[str, Counter[str]]] = ({}, {})

    def add(self, question: str, answer: str, half: int, budget: _Budget) -> None:
        self.count += 1
        answers = self.answers[half]
        if answer not in answers:
            if budget.answers <= 0:
                self.is_capped = True
                answer = _OTHERS
            else:
                budget.answers -= 1
        answers[answer] += 1
        start = " ".join(question.split()[:3])
        for table, context in ((self.questions[half], question), (self.starts[half], start)):
            known = table.get(context)
            if known is None or answer not in known:
                if budget.contexts <= 0:
                    self.is_capped = True
                    if known is None:
                        known = table.get(_OTHERS) or table.setdefault(_OTHERS, Counter())
                    known[answer if answer in known else _OTHERS] += 1
                    continue
                budget.contexts -= 1
            table.setdefault(context, Counter())[answer] += 1

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
            # Many questions share their first words, and those many answers: the commonest is looked for once.
            starts = {start: _commonest(counts) for start, counts in self.starts[learnt].items()}
            for question, answers in self.questions[scored].items():
                known = self.questions[learnt].get(question)
                guess = _commonest(known) if known else starts.get(" ".join(question.split()[:3]), majority)
                right += answers[guess] * (guess != _OTHERS)
        return right / self.count


def _commonest(counts: Counter[str]) -> str:
    """Of equals the first in the alphabet, so that the order of adding does not matter."""
    return min(counts, key=lambda answer: (-counts[answer], answer))


def _key(text: str) -> str:
    text = " ".join(text.lower().split())
    if len(text) <= 200:
        return text
    return f"{text[:100]} {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
