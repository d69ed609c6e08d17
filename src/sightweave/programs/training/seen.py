"""How many different pictures a run has trained on, in little memory."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

_MOST_BITS = 1 << 28
"""Pictures of the data up to which each has a bit of its own (32 MiB); of larger data only those seen are stored."""


class Seen:
    """Counts different numbers below `size`, each as often as it is added.

    Args:
        size: Pictures in the data.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        """Different numbers so far."""
        self._bits = bytearray((size + 7) // 8 if size <= _MOST_BITS else 0)
        self._numbers: set[int] = set()

    def add(self, number: int) -> None:
        """Notes a number from 0 to `size` - 1."""
        if not self._bits:
            self._numbers.add(number)
            self.count = len(self._numbers)
            return

        place, bit = number >> 3, 1 << (number & 7)
        if not self._bits[place] & bit:
            self._bits[place] |= bit
            self.count += 1

    def to_tensor(self) -> Tensor:
        """What `of` takes: uint8 with one bit for each picture, or int64 with the numbers, in ascending order."""
        if self._bits:
            return torch.frombuffer(bytearray(self._bits), dtype=torch.uint8)
        return torch.tensor(sorted(self._numbers), dtype=torch.int64)

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """Counts on from what `to_tensor` gave."""
        found = cls(0)
        if tensor.dtype == torch.uint8:
            found._bits = bytearray(tensor.cpu().numpy().tobytes())
            found.count = int.from_bytes(found._bits, "little").bit_count()
        else:
            found._numbers = set(tensor.tolist())
            found.count = len(found._numbers)
        return found
