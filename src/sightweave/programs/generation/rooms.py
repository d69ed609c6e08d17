"""Rooms: groups of prompts whose images are read together before the prompts are answered in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightweave.data.inputs.template import Encoded, TrunkKey
from sightweave.models.vlm import VLM
from sightweave.programs.budget import Budget

_BATCHES = 4
"""Number of batches per room, enough that the prompts of a batch have similar lengths."""


@dataclass(frozen=True)
class Room:
    """A group of prompts whose images are read together before the prompts are answered in batches."""

    numbers: list[int]
    """Indices of the samples; those with the same images are adjacent."""
    shares: bool
    """Whether the images precede the prompts and are read separately, once for all of them."""

    def order(self, encoded: Mapping[int, Encoded]) -> list[int]:
        """The sample indices in the order of answering: by length of the prompt if the images are read beforehand."""
        if not self.shares:
            return self.numbers
        # Python's sort is stable, so prompts about one image stay adjacent.
        return sorted(self.numbers, key=lambda n: len(encoded[n].prompt))

    def halves(self, encoded: Mapping[int, Encoded]) -> list[Room]:
        """Splits a room into two with half of the images each, to need less memory.

        If the room has a single image, returns one room that does not read it beforehand.
        """
        keys = list(dict.fromkeys(encoded[n].trunk_key for n in self.numbers))
        if len(keys) == 1:
            return [Room(self.numbers, shares=False)]

        first = set(keys[: len(keys) // 2])
        one = [n for n in self.numbers if encoded[n].trunk_key in first]
        other = [n for n in self.numbers if encoded[n].trunk_key not in first]
        return [Room(one, shares=True), Room(other, shares=True)]


def rooms_of(model: VLM, encoded: Mapping[int, Encoded], batch_size: int, budget: Budget) -> list[Room]:
    """Distributes all prompts to rooms.

    A room has at most `batch_size` images, which fit into memory together; each is encoded once.
    """
    groups: dict[TrunkKey, list[int]] = {}
    for number, one in encoded.items():
        groups.setdefault(one.trunk_key, []).append(number)

    # Only a causal model with image tokens in its sequence can continue images that were read separately.
    can_share = model.layout.form == "causal" and model.layout.in_sequence
    sharing: list[list[int]] = []
    others: list[list[int]] = []
    for key in sorted(groups):
        is_shareable = can_share and all(_is_shareable(encoded[n]) for n in groups[key])
        (sharing if is_shareable else others).append(groups[key])

    rooms = []
    if sharing:
        longest = max(len(encoded[group[0]].trunk) for group in sharing)
        most_images = min(batch_size, budget.rows(longest, longest))
        rooms = _sharing_rooms(sharing, batch_size, most_images)
    return rooms + _plain_rooms(others, batch_size)


def _plain_rooms(groups: Sequence[Sequence[int]], batch_size: int) -> list[Room]:
    """Rooms of one batch each, in which nothing is read beforehand."""
    numbers = [number for group in groups for number in group]
    return [Room(numbers[i : i + batch_size], False) for i in range(0, len(numbers), batch_size)]


def _sharing_rooms(groups: Sequence[Sequence[int]], batch_size: int, most_images: int) -> list[Room]:
    """Fills rooms with one group of prompts after another; a group that is too large is split."""
    most_prompts = _BATCHES * batch_size
    rooms: list[Room] = []
    numbers: list[int] = []
    images = 0
    for group in groups:
        rest = list(group)
        while rest:
            space = most_prompts - len(numbers)
            numbers, rest, images = numbers + rest[:space], rest[space:], images + 1
            if images == most_images or len(numbers) == most_prompts:
                rooms.append(Room(numbers, images < len(numbers)))
                numbers, images = [], 0

    if numbers:
        rooms.append(Room(numbers, images < len(numbers)))
    return rooms


def _is_shareable(one: Encoded) -> bool:
    """Whether all images of a prompt precede its text."""
    return bool(one.trunk_media) and not one.branch_media
