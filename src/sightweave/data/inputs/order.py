"""Which picture comes when: a function of (seed, epoch, position), so a resumed run needs only integers.

A keyed bijection on ``0 .. size - 1``: a four-round Feistel network over the next power of four, walked until it lands
inside (Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains"). No permutation is ever stored, and a mix of
sources is such a function, too.
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
    """The picture at `position` of an epoch.

    Args:
        seed: The run's seed.
        epoch: 0, 1, ...
        position: 0 to `size` - 1.
        size: Pictures in the data set.
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
    """`count` different numbers out of ``0 .. size - 1``, each equally likely to be among them, in ascending order.

    The same on every machine; a larger count of the same seed and size holds the smaller one.

    Args:
        seed: Another seed is another draw.
        size: Numbers to draw from; their memory is not needed.
        count: How many; all of them where there are no more.
    """
    if count >= size:
        return list(range(size))
    return sorted(shuffled(seed + _DRAWN, 0, position, size) for position in range(count))


_DRAWN = 0xD2A3
"""Added to the seed of a draw, so that it is independent of the order in which a run of this seed trains."""


def _mix(seed: int, epoch: int, step: int, value: int) -> int:
    """SplitMix64's finaliser (Steele et al. 2014) over all four numbers."""
    x = (
        seed * 0x9E3779B97F4A7C15 + epoch * 0xBF58476D1CE4E5B9 + step * 0x94D049BB133111EB + value + 1
    ) & _MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = ((x ^ (x >> shift)) * factor) & _MASK
    return x ^ (x >> 31)


def positions(seed: int, size: int, start: int = 0) -> Iterator[int]:
    """Pictures from position `start` of the endless run over epochs."""
    at = start
    while True:
        yield shuffled(seed, at // size, at % size, size)
        at += 1


@dataclass(frozen=True, slots=True)
class Mixing:
    """How often one source comes in a mix."""

    epochs: float = 1.0
    """Times that its pictures come in one epoch of the mix; 0.5 shows another half in each."""
    weight: float | None = None
    """Its share of all places, beside the other sources' weights; then `epochs` says nothing."""


_WITHIN = 0x5EED
"""Added to the seed for the order inside a source, so that it differs from the order of the mix."""


class Mix:
    """Sources of different lengths as one endless order; nothing is stored but a quota of each.

    One epoch of the mix has ``sum(quotas)`` places. Which source stands at a place is a shuffle of the quotas. A source
    whose quota is its length shows every picture once an epoch. Another one runs through its own epochs, one after the
    other: after any number of the mix's epochs, its pictures came equally often, or once more.

    Args:
        lengths: Pictures of each source.
        mixing: How often each comes; empty means once an epoch each.
        seed: The run's.

    Raises:
        RecipeError: as many `mixing` as sources are needed; some sources have a weight and others none; a number that is
            not above 0.
        DataError: no pictures at all, or none in a source that has a weight.
    """

    def __init__(self, lengths: Sequence[int], mixing: Sequence[Mixing] = (), *, seed: int = 0) -> None:
        self.lengths = tuple(lengths)
        self.seed = seed
        if not sum(self.lengths):
            raise DataError("there is nothing to train on: the data has no images.")
        self.quotas = _quotas(self.lengths, tuple(mixing) or (Mixing(),) * len(self.lengths))
        """Places of each source in one epoch of the mix."""
        self._ends = tuple(accumulate(self.quotas))

    @property
    def total(self) -> int:
        """Places of one epoch of the mix."""
        return self._ends[-1]

    def at(self, position: int) -> tuple[int, int]:
        """Number of the source and of the picture in it, at a position (0, 1, ...) of the endless run."""
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
    # A source that is not empty gets a place at least, however small its share is.
    if weights:
        size, parts = sum(lengths), math.fsum(weights)
        return tuple(max(1, round(size * (weight / parts))) for weight in weights)
    return tuple(
        max(1, round(length * one.epochs)) if length else 0
        for length, one in zip(lengths, mixing, strict=True)
    )


def fingerprint(parts: Iterable[str | int]) -> str:
    """One SHA-256 (64 hexadecimal digits) of the fingerprints or lengths of all sources, in order."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()
