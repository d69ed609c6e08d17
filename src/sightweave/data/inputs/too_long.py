"""Policies for samples that are too long; no image or answer is ever truncated.

``error`` raises an error, ``drop_row`` drops the sample, ``drop_turn`` drops whole turns of a conversation, oldest first,
and ``shrink_image`` cuts images into fewer tiles. If the last two are not enough, the sample is dropped.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.template import Encoded

Policy = Literal["error", "drop_row", "drop_turn", "shrink_image"]


class TooLong(DataError):
    """A sample has more tokens than allowed.

    Args:
        name: Id of the sample.
        length: Number of tokens of the sample.
        limit: Maximum number of tokens.
    """

    code = "too_long"

    def __init__(self, name: str, length: int, limit: int) -> None:
        super().__init__(
            f"sample {name!r} has {length} tokens, more than max_length {limit}; raise inputs.max_length, "
            "shorten the text, or set train.too_long to drop_turn or shrink_image."
        )
        self.length, self.limit = length, limit


def fit(sample: Sample, processor: Processor, policy: Policy, max_length: int) -> Encoded | None:
    """Encodes a sample, shortened by a policy if it is too long; None if it is dropped.

    Args:
        sample: The sample.
        processor: Encodes samples.
        policy: Policy for samples that are too long.
        max_length: Maximum number of tokens.

    Raises:
        TooLong: The sample is too long, and the policy is ``error``.
        DataError: As for `Processor.encode`.
    """
    encoded = processor.encode(sample)
    length = encoded_length(encoded)
    if length <= max_length:
        return encoded

    if policy == "error":
        raise TooLong(sample.id, length, max_length)
    if policy == "drop_turn":
        return _fewer_turns(sample, processor, max_length)
    return _fewer_tiles(sample, processor, max_length) if policy == "shrink_image" else None


def encoded_length(encoded: Encoded) -> int:
    """Total number of tokens in trunk, prompt and target."""
    return len(encoded.trunk) + len(encoded.prompt) + len(encoded.target)


def _fewer_turns(sample: Sample, processor: Processor, max_length: int) -> Encoded | None:
    while (shorter := without_oldest_turn(sample)) is not None:
        sample = shorter
        encoded = processor.encode(sample)
        if encoded_length(encoded) <= max_length:
            return encoded
    return None


def _fewer_tiles(sample: Sample, processor: Processor, max_length: int) -> Encoded | None:
    tiles = processor.tiles.max_tiles
    while tiles > 0 and sample.media:
        tiles //= 2
        encoded = processor.encode(sample, max_tiles=tiles)
        if encoded_length(encoded) <= max_length:
            return encoded
    return None


def without_oldest_turn(sample: Sample) -> Sample | None:
    """Removes the oldest removable turn (a user's message with its media, and the answer); None if there is none.

    The last turn is always kept. Turns without media are removed first, because answers about a removed image would teach
    the model to guess. A turn with media is removed only if a later turn has media of its own.
    """
    turns = _turns(sample.parts)
    seeing = [any(isinstance(part.content, Medium) for part in turn) for turn in turns]
    candidates = [index for index in range(len(turns) - 1) if not seeing[index]]
    candidates += [index for index in range(len(turns) - 1) if seeing[index] and any(seeing[index + 1 :])]
    if not candidates:
        return None

    left: list[Part] = []
    for index, turn in enumerate(turns):
        if index != candidates[0]:
            left += turn
    kept = dataclasses.replace(sample, parts=tuple(left))

    # Regions belong to the first medium, so they are dropped with it.
    same = kept.media[:1] == sample.media[:1]
    return kept if same else dataclasses.replace(kept, regions=())


def _turns(parts: tuple[Part, ...]) -> list[list[Part]]:
    """Splits parts into turns, each of which starts with the first part after an answer that is not itself an answer."""
    turns: list[list[Part]] = []
    before = "assistant"
    for part in parts:
        if part.role != "assistant" and before == "assistant":
            turns.append([])
        if not turns:
            turns.append([])
        turns[-1].append(part)
        before = part.role
    return turns
