"""Shuffles images by a function of (seed, epoch, position), so that a run can be resumed from a few integers.

The function is a keyed bijection on ``0 .. size - 1``: a four-round Feistel network over the next power of four, applied
until the result is in range (Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains"). No permutation is stored. The
order of a mix of several sources is computed in the same way.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sightweave.core.errors import DataError, RecipeError

_MASK = (1 << 64) - 1


def shuffled(seed: int, epoch: int, position: int, size: int) -> int:
    """The index of the image at a position in a shuffled epoch.

    Args:
        seed: Random seed of the run.
        epoch: Number of the epoch, counted from 0.
        position: Position in the epoch, from 0 to `size` - 1.
        size: Number of images in the dataset.
    """
    if size == 1:
        return 0

    half = (max(2, (size - 1).bit_length()) + 1) // 2
    mask = (1 << half) - 1
    value = position
    while True:
        left, right = value >> half, value & mask
        for step in range(4):
            left, right = right, left ^ (_mix(seed, epoch, step, right) & mask)
        value = left << half | right
        if value < size:
            return value


def drawn(seed: int, size: int, count: int) -> list[int]:
    """Samples `count` distinct integers from ``0 .. size - 1`` uniformly, and returns them in ascending order.

    The result is the same on every machine. With the same seed and size, a larger sample contains a smaller one.

    Args:
        seed: Random seed.
        size: Number of integers to sample from; the memory use does not depend on it.
        count: Number of integers to sample; if it is at least `size`, all integers are returned.
    """
    if count >= size:
        return list(range(size))
    return sorted(shuffled(seed + _DRAWN, 0, position, size) for position in range(count))


_DRAWN = 0xD2A3
"""Added to the seed for sampling, so that samples are independent of the training order with the same seed."""


def _mix(seed: int, epoch: int, step: int, value: int) -> int:
    """Hashes four numbers to 64 bits with SplitMix64's finaliser (Steele et al. 2014)."""
    x = (
        seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + step * 0x94D049BB133111EB + value + 1
    ) & _MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = ((x ^ (x >> shift)) * factor) & _MASK
    return x ^ (x >> 31)


def positions(seed: int, size: int, start: int = 0) -> Iterator[int]:
    """Yields indices of shuffled images, epoch after epoch without end, from position `start` on."""
    at = start
    while True:
        yield shuffled(seed, at // size, at % size, size)
        at += 1


@dataclass(frozen=True, slots=True)
class Mixing:
    """The frequency of one source in a mix."""

    epochs: float = 1.0
    """Number of times that each image occurs per epoch of the mix; with 0.5, it occurs once in two epochs."""
    weight: float | None = None
    """Weight of the source relative to the other sources; if it is set, `epochs` is ignored."""


_WITHIN = 0x5EED
"""Added to the seed for the order within a source, so that this order is independent of that of the mix."""


class Mix:
    """An endless shuffled order over the images of several sources.

    One epoch of the mix has ``sum(quotas)`` positions, which are shuffled. A source whose quota equals its length
    contributes each image once per epoch. Any other source has its own epochs, so that after any number of epochs of the
    mix, the counts of its images differ by at most one. Only the quotas are stored.

    Args:
        lengths: Number of images of each source.
        mixing: Frequency of each source; empty means that each occurs once per epoch.
        seed: Random seed of the run.

    Raises:
        RecipeError: The lengths of `mixing` and `lengths` differ, only some of the sources have a weight, or a number is not
            positive.
        DataError: There are no images, or a source with a weight has none.
    """

    def __init__(self, lengths: Sequence[int], mixing: Sequence[Mixing] = (), *, seed: int = 0) -> None:
        self.lengths = tuple(lengths)
        self.seed = seed
        if not sum(self.lengths):
            raise DataError("there is nothing to train on: the data has no images.")
        self.quotas = _quotas(self.lengths, tuple(mixing) or (Mixing(),) * len(self.lengths))
        """Number of positions of each source in one epoch of the mix."""
        self._ends = tuple(accumulate(self.quotas))

    @property
    def total(self) -> int:
        """Number of positions in one epoch of the mix."""
        return self._ends[-1]

    def at(self, position: int) -> tuple[int, int]:
        """The index of the source, and of the image in that source, at a position (0, 1, ...) of the endless order."""
        epoch, place = divmod(position, self.total)
        slot = shuffled(self.seed, epoch, place, self.total)
        source = bisect_right(self._ends, slot)
        quota, length = self.quotas[source], self.lengths[source]
        local = slot - (self._ends[source] - quota)

        if quota == length:
            return source, local
        source_epoch, number = divmod(epoch * quota + local, length)
        return source, shuffled(self.seed + _WITHIN + source, source_epoch, number, length)


def _quotas(lengths: tuple[int, ...], mixing: tuple[Mixing, ...]) -> tuple[int, ...]:
    if len(mixing) != len(lengths):
        raise RecipeError(
            f"data: {len(mixing)} mixing rules for {len(lengths)} sources; each source needs one."
        )

    weights = [one.weight for one in mixing if one.weight is not None]
    for number, one in enumerate(mixing):
        name, value = ("epochs", one.epochs) if one.weight is None else ("weight", one.weight)
        if not (math.isfinite(value) and value > 0):
            raise RecipeError(f"data: source {number + 1}: {name} must be more than 0 (got {value}).")
        if one.weight is None and weights:
            raise RecipeError(
                f"data: source {number + 1} has no weight, but {len(weights)} of {len(mixing)} sources have one; "
                "give every source a weight, or none."
            )
        if one.weight is not None and not lengths[number]:
            raise DataError(f"data: source {number + 1} has weight {one.weight:g} but no images; remove it.")

    # A source that is not empty gets at least one position, even if its share is tiny.
    if weights:
        size, total = sum(lengths), math.fsum(weights)
        return tuple(max(1, round(size * (weight / total))) for weight in weights)

    quotas = []
    for length, one in zip(lengths, mixing, strict=True):
        quotas.append(max(1, round(length * one.epochs)) if length else 0)
    return tuple(quotas)


def fingerprint(parts: Iterable[str | int]) -> str:
    """SHA-256, as 64 hexadecimal digits, of the fingerprints or lengths of all sources, in order."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()
