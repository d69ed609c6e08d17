"""Short series of numbers, in .npy files or arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightweave.core.config import config
from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs.media import _base


@config
class Config:
    """How series become tensors."""

    longest: int = 40
    """Numbers that are read of a series."""

    def build(self) -> Loader:
        """The loader."""
        return Loader(self.longest)


class Loader(_base.Loader):
    """Reads series.

    Args:
        longest: Numbers that are read of each.
    """

    def __init__(self, longest: int) -> None:
        self.longest = longest

    def size(self, medium: Medium) -> tuple[int, ...]:
        """Numbers that are read, from the header of the file."""
        return (min(len(_opened(medium)), self.longest),)

    def value(self, medium: Medium, seed: int | None = None) -> Tensor:
        """float 1 T; a seed adds a little noise."""
        numbers = np.array(_opened(medium)[: self.longest], np.float32)
        if seed is not None:
            numbers += np.random.default_rng(seed).normal(0, 0.01, len(numbers)).astype(np.float32)
        return torch.from_numpy(numbers)[None]

    @staticmethod
    def blank(medium: Medium) -> Medium:
        """As many zeros."""
        count = len(_opened(medium))
        return Medium(np.zeros(count, np.float32), f"zeros-{count}", modality=__name__)

    @staticmethod
    def example(number: int) -> Medium:
        """Random numbers, 3 to 17 of them."""
        rng = np.random.default_rng(number)
        values = rng.normal(size=3 + number % 15).astype(np.float32)
        return Medium(values, f"series-{number}", modality=__name__)


def _opened(medium: Medium) -> Any:
    """The numbers; of a file only the header is read."""
    if not isinstance(medium.source, Path):
        return medium.source
    try:
        return np.load(medium.source, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise MediaError("series_unreadable", f"series {str(medium.source)!r}: {error}") from None
