"""What needs no model: saying always the same, and saying what the most similar training prompt was answered by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from sightweave.answers.metrics import exact_match
from sightweave.core.types import Sample
from sightweave.programs.evaluation.frequent import Frequent
from sightweave.programs.evaluation.neighbour import Neighbour

_MOST_ANSWERS = 20_000
"""Different answers of one type of question, from twice as many on the rare ones are no longer counted exactly."""


class Baselines:
    """What training data alone would answer; it takes one sample after the other, and any number of them.

    Args:
        train: Samples; those without references teach nothing. `add` takes more.
        notes: What a reader must know of where they come from.
    """

    def __init__(self, train: Iterable[Sample] = (), *, notes: Iterable[str] = ()) -> None:
        self.neighbour = Neighbour()
        self._votes: dict[str, Frequent] = {}
        self._written: dict[str, dict[str, str]] = {}
        self._notes = tuple(notes)
        self._fold = lru_cache(maxsize=10_000)(exact_match.ExactMatch().fold)
        for sample in train:
            self.add(sample)

    def add(self, sample: Sample) -> None:
        """Learns one more sample."""
        kind = f"{sample.task}/{sample.tags.get('type', '')}"
        votes = self._votes.get(kind)
        if votes is None:
            votes = self._votes[kind] = Frequent(_MOST_ANSWERS)
        written = self._written.setdefault(kind, {})
        folded = {self._fold(reference): reference for reference in reversed(sample.references)}
        for answer, reference in folded.items():
            votes.add(answer)
            written.setdefault(answer, reference)

        if len(written) > 2 * len(votes.counts):  # answers that are no longer counted
            self._written[kind] = {answer: written[answer] for answer in votes.counts}
        self.neighbour.add(sample)

    def to_plain(self) -> dict[str, Any]:
        """What was learnt, ready for JSON; notes that were given are not in it."""
        return {
            "votes": {kind: votes.to_plain() for kind, votes in self._votes.items()},
            "written": self._written,
            "neighbour": self.neighbour.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], *, notes: Iterable[str] = ()) -> Baselines:
        """The baselines whose `to_plain` that is."""
        made = cls(notes=notes)
        made.neighbour = Neighbour.from_plain(plain["neighbour"])
        made._votes = {kind: Frequent.of(*votes) for kind, votes in plain["votes"].items()}
        made._written = {kind: dict(written) for kind, written in plain["written"].items()}
        return made

    @property
    def majority(self) -> dict[str, str]:
        """The answer that is right most often, for each ``task/type``; ties go to the first in the alphabet.

        Answers that differ in case alone are one, in the form that came first: a metric may look at case.
        """
        known = {kind: votes.first for kind, votes in self._votes.items() if votes.counts}
        return {kind: self._written[kind][answer] for kind, answer in known.items()}

    def notes(self) -> Iterator[str]:
        """Where the answers come from, and what was not counted exactly."""
        yield from self._notes
        for kind, votes in sorted(self._votes.items()):
            if votes.lost:
                yield (
                    f"{kind}: over {2 * votes.room:,} different training answers; the count of the majority "
                    "answer is accurate to within "
                    f"{votes.lost:,} occurrences."
                )
        yield from self.neighbour.notes()
