"""Which picture comes when: a function of (seed, epoch, position), so a resumed run needs only integers.

A keyed bijection on ``0 .. size - 1``: a four-round Feistel network over the next power of four, walked until it lands
inside (Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains"). No permutation is ever stored.
"""

from __future__ import annotations

from collections.abc import Iterator

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
