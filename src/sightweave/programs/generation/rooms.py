"""Rooms: prompts whose pictures are read together, before one batch of them after another is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightweave.data.inputs.template import Encoded, TrunkKey
from sightweave.models.vlm import VLM
from sightweave.programs.budget import Budget

_BATCHES = 4
"""Batches of a room: enough for prompts of a batch to be about as long as one another."""


@dataclass(frozen=True)
class Room:
    """Prompts whose pictures are read together, before one batch of them after another is answered."""

    numbers: list[int]
    """Of samples; those with the same pictures are neighbours."""
    shares: bool
    """Whether the pictures stand in front of the prompts and are read on their own, once for all of them."""

    def order(self, encoded: Mapping[int, Encoded]) -> list[int]:
        """The numbers; where their pictures were read before, those of prompts of about the same length are neighbours."""
        if not self.shares:
            return self.numbers
        # Python's sort is stable: prompts on one picture stay neighbours.
        return sorted(self.numbers, key=lambda n: len(encoded[n].prompt))

    def halves(self, encoded: Mapping[int, Encoded]) -> list[Room]:
        """Two rooms of half of the pictures each; where there is one picture, a room that does not read it beforehand."""
        keys = list(dict.fromkeys(encoded[n].trunk_key for n in self.numbers))
        if len(keys) == 1:
            return [Room(self.numbers, shares=False)]
        first = set(keys[: len(keys) // 2])
        one = [n for n in self.numbers if encoded[n].trunk_key in first]
        other = [n for n in self.numbers if encoded[n].trunk_key not in first]
        return [Room(one, shares=True), Room(other, shares=True)]


def rooms_of(model: VLM, encoded: Mapping[int, Encoded], batch_size: int, budget: Budget) -> list[Room]:
    """All prompts in rooms; a room has at most `batch_size` pictures that fit into memory, each of which is encoded once."""
    groups: dict[TrunkKey, list[int]] = {}
    for number, one in encoded.items():
        groups.setdefault(one.trunk_key, []).append(number)
    can_share = model.layout.form == "causal" and model.layout.in_sequence
    rooms: list[Room] = []
    for shares in (True, False):
        chosen = [
            groups[key]
            for key in sorted(groups)
            if shares == (can_share and _shareable([encoded[n] for n in groups[key]]))
        ]
        longest = max((len(encoded[n].trunk) for group in chosen for n in group[:1]), default=0)
        most = min(batch_size, budget.rows(longest, longest)) if shares and chosen else batch_size
        rooms += _packed(chosen, shares, batch_size, most)
    return rooms


def _packed(groups: Sequence[Sequence[int]], shares: bool, batch_size: int, most_pictures: int) -> list[Room]:
    """Groups one after another into rooms; a large group is cut."""
    if not shares:
        every = [number for group in groups for number in group]
        return [Room(every[i : i + batch_size], False) for i in range(0, len(every), batch_size)]
    rooms: list[Room] = []
    numbers: list[int] = []
    pictures = 0
    for group in groups:
        rest = list(group)
        while rest:
            space = _BATCHES * batch_size - len(numbers)
            numbers, rest, pictures = numbers + rest[:space], rest[space:], pictures + 1
            if pictures == most_pictures or len(numbers) == _BATCHES * batch_size:
                rooms.append(Room(numbers, pictures < len(numbers)))
                numbers, pictures = [], 0
    return [*rooms, Room(numbers, pictures < len(numbers))] if numbers else rooms


def _shareable(encoded: Sequence[Encoded]) -> bool:
    return all(one.trunk_media and not one.branch_media for one in encoded)
