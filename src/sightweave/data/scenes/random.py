"""A random number generator whose integers are the same on every machine and with every version of NumPy.

Only the raw bits come from NumPy, from its counter-based generator Philox (Parallel Random Numbers: As Easy as 1, 2, 3,
Salmon et al. 2011). Everything else is integer arithmetic in this file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_BLOCK = 64
_WORD = (1 << 64) - 1


class Random:
    """A stream of random integers. Streams are identified by four numbers and independent of one another.

    Args:
        seed: Random seed of the dataset.
        split: Index of the split.
        index: Index of the image.
        stream: Index of the stream for this image; additional draws from one stream do not affect the others.
    """

    __slots__ = ("_bits", "_buffer")

    def __init__(self, seed: int, split: int, index: int, stream: int) -> None:
        key = np.array([seed & _WORD, index & _WORD], dtype=np.uint64)
        counter = np.array([0, 0, split, stream], dtype=np.uint64)
        self._bits = np.random.Philox(key=key, counter=counter)
        self._buffer: list[int] = []

    def below(self, limit: int) -> int:
        """A uniformly random integer from 0 to ``limit - 1`` (with a relative bias below limit / 2**64)."""
        buffer = self._buffer
        if not buffer:
            buffer.extend(self._bits.random_raw(_BLOCK).tolist())
        return (buffer.pop() * limit) >> 64

    def between(self, low: int, high: int) -> int:
        """A uniformly random integer from ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True with a probability of ``percent`` in a hundred."""
        return self.below(100) < percent

    def choice(self, items: Sequence[T]) -> T:
        """A uniformly random item."""
        return items[self.below(len(items))]

    def weighted(self, items: Sequence[T], weights: Sequence[int]) -> T:
        """A random item, with probabilities proportional to the weights."""
        rest = self.below(sum(weights))
        for item, weight in zip(items, weights, strict=True):
            rest -= weight
            if rest < 0:
                return item
        raise AssertionError("a draw below the sum of the weights lies within them")

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order (Fisher-Yates)."""
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result

    def drawn(self, items: Sequence[T]) -> Iterator[T]:
        """Yields the items in random order; cheaper than `shuffled` if only the first few are needed."""
        rest = list(items)
        while rest:
            index = self.below(len(rest))
            rest[index], rest[-1] = rest[-1], rest[index]
            yield rest.pop()

    def octets(self, number: int) -> bytes:
        """Returns `number` random bytes; each draw of the generator yields eight of them."""
        raw = self._bits.random_raw((number + 7) // 8)
        return raw.astype("<u8").tobytes()[:number]
