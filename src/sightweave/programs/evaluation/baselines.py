"""Baselines without a model: the most frequent training answer, and the answer to the most similar training prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from sightweave.answers.metrics import exact_match
from sightweave.core.types import Sample
from sightweave.programs.evaluation.frequent import Frequent
from sightweave.programs.evaluation.neighbour import Neighbour

_MOST_ANSWERS = 20_000
"""Maximum number of different answers per question type; beyond twice this number, rare ones are not counted
exactly."""


class Baselines:
    """Answers derived from training data alone; samples can be added one at a time, in any number.

    Args:
        train: Training samples; those without references are ignored. `add` adds more.
        notes: Sentences for the reader on where the samples come from.
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
        """Adds one training sample."""
        kind = f"{sample.task}/{sample.tags.get('type', '')}"
        votes = self._votes.get(kind)
        if votes is None:
            votes = self._votes[kind] = Frequent(_MOST_ANSWERS)
        written = self._written.setdefault(kind, {})

        # Reversed, so that the first of several references that are equal when folded is kept.
        folded = {self._fold(reference): reference for reference in reversed(sample.references)}
        for answer, reference in folded.items():
            votes.add(answer)
            written.setdefault(answer, reference)

        if len(written) > 2 * len(votes.counts):  # drop answers that are no longer counted
            self._written[kind] = {answer: written[answer] for answer in votes.counts}
        self.neighbour.add(sample)

    def to_plain(self) -> dict[str, Any]:
        """The learned counts as plain JSON data; the notes are not included."""
        return {
            "votes": {kind: votes.to_plain() for kind, votes in self._votes.items()},
            "written": self._written,
            "neighbour": self.neighbour.to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], *, notes: Iterable[str] = ()) -> Baselines:
        """Restores baselines from the result of `to_plain`."""
        found = cls(notes=notes)
        found.neighbour = Neighbour.from_plain(plain["neighbour"])
        for kind, votes in plain["votes"].items():
            found._votes[kind] = Frequent.of(*votes)
        for kind, written in plain["written"].items():
            found._written[kind] = dict(written)
        return found

    @property
    def majority(self) -> dict[str, str]:
        """The most frequent right answer for each ``task/type``; ties go to the alphabetically first.

        Answers that differ only in case count as one, spelled as in the first occurrence, since metrics may be
        case-sensitive.
        """
        found = {}
        for kind, votes in self._votes.items():
            if votes.counts:
                found[kind] = self._written[kind][votes.first]
        return found

    def notes(self) -> Iterator[str]:
        """Sentences on where the answers come from, and on counts that are not exact."""
        yield from self._notes
        for kind, votes in sorted(self._votes.items()):
            if votes.lost:
                yield (
                    f"{kind}: over {2 * votes.room:,} different training answers; the count of the majority "
                    f"answer is accurate to within {votes.lost:,} occurrences."
                )
        yield from self.neighbour.notes()
