"""Counts the distinct images that a run has trained on, in little memory."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

_MOST_BITS = 1 << 28
"""Maximum dataset size for one bit per image (32 MiB); for larger data only the images seen are stored."""


class Seen:
    """Counts distinct numbers below `size`.

    Args:
        size: Number of images in the data.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        """Number of distinct numbers so far."""
        self._bits = bytearray((size + 7) // 8 if size <= _MOST_BITS else 0)
        self._numbers: set[int] = set()

    def add(self, number: int) -> None:
        """Adds a number from 0 to `size` - 1."""
        if not self._bits:
            self._numbers.add(number)
            self.count = len(self._numbers)
            return

        place, bit = number >> 3, 1 << (number & 7)
        if not self._bits[place] & bit:
            self._bits[place] |= bit
            self.count += 1

    def to_tensor(self) -> Tensor:
        """The tensor that `of` restores from: uint8 with one bit per image, or int64 with the numbers in ascending order."""
        if self._bits:
            return torch.frombuffer(bytearray(self._bits), dtype=torch.uint8)
        return torch.tensor(sorted(self._numbers), dtype=torch.int64)

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """Restores the counter from the tensor of `to_tensor`."""
        found = cls(0)
        if tensor.dtype == torch.uint8:
            found._bits = bytearray(tensor.cpu().numpy().tobytes())
            found.count = int.from_bytes(found._bits, "little").bit_count()
        else:
            found._numbers = set(tensor.tolist())
            found.count = len(found._numbers)
        return found
