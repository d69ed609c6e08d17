"""Names that identify prompts, from which the random numbers of each row are derived."""

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
    """Yields the samples with unique ids: a number is appended to ids that occurred before.

    `generate` gives equal samples of one call different random numbers. A caller that spreads samples over several
    calls uses this function to achieve the same across the calls.

    Args:
        samples: Samples in the order of the calls.
        seen: How often each id occurred in earlier samples; updated in place.
    """
    seen = Counter() if seen is None else seen

    for sample in samples:
        seen[sample.id] += 1
        number = seen[sample.id]
        yield sample if number == 1 else replace(sample, id=f"{sample.id}#{number}")


def draws_of(decoder: Decoder, seed: int, samples: Sequence[Sample]) -> Draws:
    """Creates a stream of random numbers for each row that answers these samples."""
    # Without random numbers, no image needs to be read for a name.
    if not getattr(decoder, "is_random", True):
        return Draws(np.zeros(len(samples) * decoder.width, dtype=np.uint64))

    contents: dict[Medium, str] = {}
    names = [_name(sample, contents) for sample in samples]
    return Draws.of(seed, names, width=decoder.width)


def _name(sample: Sample, contents: dict[Medium, str]) -> list[str]:
    """The name of a prompt: its id, its texts and the contents of its media, but not its answer.

    The paths of the media are left out, so that the answers do not depend on the folder of the files.

    Args:
        sample: The prompt.
        contents: Digests of media that are already known; updated in place.
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
    """The name of each row of a batch of prompts: its tokens, and a digest of each of its media."""
    read = batch.source or batch.target
    assert read is not None  # prompts always have tokens
    names = [[str(ids[valid].tolist())] for ids, valid in zip(read.ids, read.valid, strict=True)]

    for media in batch.media.values():
        for row, values in zip(media.row.tolist(), media.values, strict=True):
            numbers = values.detach().float().cpu().contiguous().numpy()
            names[row].append(hashlib.sha256(numbers.tobytes()).hexdigest())
    return names
