"""Names of prompts; they determine the random numbers of each row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from sightweave.answers.decoding._base import Decoder, Draws
from sightweave.core.batch import Batch
from sightweave.core.types import Medium, Sample
from sightweave.data.inputs import modalities


def distinct(samples: Iterable[Sample], seen: Counter[str] | None = None) -> Iterator[Sample]:
    """The samples, with a number appended to ids that occurred before.

    `generate` gives equal samples of one call different random numbers. A caller that spreads samples over several calls
    uses this function to do the same across the calls.

    Args:
        samples: Samples in the order of the calls.
        seen: How often each id occurred in earlier samples; it is updated.
    """
    seen = Counter() if seen is None else seen

    for sample in samples:
        seen[sample.id] += 1
        number = seen[sample.id]
        yield sample if number == 1 else replace(sample, id=f"{sample.id}#{number}")


def draws_of(decoder: Decoder, seed: int, samples: Sequence[Sample]) -> Draws:
    """A stream of random numbers for each row that answers these samples."""
    if not getattr(decoder, "is_random", True):  # nothing is drawn, so no image needs to be read for its name
        return Draws(np.zeros(len(samples) * decoder.width, dtype=np.uint64))

    contents: dict[Medium, str] = {}
    names = [_name(sample, contents) for sample in samples]
    return Draws.of(seed, names, width=decoder.width)


def _name(sample: Sample, contents: dict[Medium, str]) -> list[str]:
    """What identifies a prompt: its id, its texts and the contents of its media, but not its answer.

    The names of the media do not count, so a file gives the same answers from any folder.

    Args:
        sample: The prompt.
        contents: Digests of media that are already known; it is updated.
    """
    parts = list(sample.parts)
    while parts and parts[-1].role == "assistant":
        parts.pop()

    name = [sample.id]
    for part in parts:
        if not isinstance(part.content, Medium):
            name += [part.role, part.content]
            continue
        if part.content not in contents:
            contents[part.content] = modalities.digest(part.content)
        name += ["medium", contents[part.content]]
    return name


def names_of_rows(batch: Batch) -> list[list[str]]:
    """What identifies each row of a batch of prompts: its tokens and the values of its media."""
    read = batch.source or batch.target
    assert read is not None  # prompts are tokens
    names = [[str(ids[valid].tolist())] for ids, valid in zip(read.ids, read.valid, strict=True)]

    for media in batch.media.values():
        for row, values in zip(media.row.tolist(), media.values, strict=True):
            numbers = values.detach().float().cpu().contiguous().numpy()
            names[row].append(hashlib.sha256(numbers.tobytes()).hexdigest())
    return names
