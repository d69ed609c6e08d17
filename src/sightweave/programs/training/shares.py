"""What each process did in one update, added up over all processes, so that every process counts the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sightweave.programs.training.feed import Step
from sightweave.programs.training.quarantine import Entry
from sightweave.programs.training.world import World


@dataclass
class Share:
    """What one process, or all of them, did in one update."""

    samples: int = 0
    tokens: int = 0
    """Number of tokens trained on, image tokens included."""
    pictures: list[int] = field(default_factory=list)
    """Numbers of the images trained on, counted through all sources."""
    left_out: list[Entry] = field(default_factory=list)
    """Images and samples left out since the last update."""

    @classmethod
    def of(cls, microsteps: Sequence[Step], left_out: list[Entry]) -> Self:
        """The share of this process."""
        found = cls(left_out=left_out)
        for one in microsteps:
            found.samples += len(one.ids)
            found.pictures += one.pictures
            if one.batch is not None and one.batch.target is not None:
                found.tokens += int(one.batch.target.valid.sum())
        return found

    def over_all(self, world: World) -> Share:
        """The shares of all processes added up, by rank."""
        if world.size == 1:
            return self

        total = Share()
        for values in world.gather(asdict(self)):
            share = _from_json(values)
            total.samples += share.samples
            total.tokens += share.tokens
            total.pictures += share.pictures
            total.left_out += share.left_out
        return total


def _from_json(values: dict[str, Any]) -> Share:
    return Share(**{**values, "left_out": [Entry(**one) for one in values["left_out"]]})
