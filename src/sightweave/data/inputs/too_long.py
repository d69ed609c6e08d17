"""What becomes of a sample that is too long: nothing is ever cut inside a picture or an answer.

``error`` stops, ``drop_row`` leaves it out, ``drop_turn`` leaves out whole turns of a conversation, oldest first, and
``shrink_image`` cuts its pictures into fewer tiles. Where the last two are not enough, the sample is left out.
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
    """A sample has more tokens than a model takes.

    Args:
        name: The sample's id.
        length: Its tokens.
        limit: Tokens that it may have.
    """

    code = "too_long"

    def __init__(self, name: str, length: int, limit: int) -> None:
        super().__init__(
            f"sample {name!r} has {length} tokens, more than max_length {limit}; raise inputs.max_length, "
            "shorten the text, or set train.too_long to drop_turn or shrink_image."
        )
        self.length, self.limit = length, limit


def fit(sample: Sample, processor: Processor, policy: Policy, max_length: int) -> Encoded | None:
    """The sample as tokens, shortened as `policy` says; None where it is to be left out.

    Raises:
        TooLong: it is too long, and the policy is ``error``.
        DataError: as `Processor.encode`.
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
    """Tokens of trunk, prompt and target."""
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
    """The sample less one whole turn (what was said to the model, pictures included, and its answer), never the last.

    Turns without a picture go first: an answer about a picture that is gone teaches to guess. One with a picture goes
    only while a later turn has a picture of its own. None where no turn can go.
    """
    turns = _turns(sample.parts)
    seeing = [any(isinstance(part.content, Medium) for part in turn) for turn in turns]
    candidates = [index for index in range(len(turns) - 1) if not seeing[index]]
    candidates += [index for index in range(len(turns) - 1) if seeing[index] and any(seeing[index + 1 :])]
    if not candidates:
        return None
    left = [turn for index, turn in enumerate(turns) if index != candidates[0]]
    parts = tuple(part for turn in left for part in turn)
    kept = dataclasses.replace(sample, parts=parts)
    # Regions are those of the first picture.
    same = kept.media[:1] == sample.media[:1]
    return kept if same else dataclasses.replace(kept, regions=())


def _turns(parts: tuple[Part, ...]) -> list[list[Part]]:
    """Parts cut where the user speaks after an answer."""
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
