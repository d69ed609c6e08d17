"""The interface by which several processes split the tokens of each row between them; training implements it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sightweave.core.batch import TokenSequence
from sightweave.core.cache import Cache


class SequenceSplit(ABC):
    """The share of one process: as many consecutive tokens of each row as in every other process.

    Args:
        rank: Number of this process, from 0.
        size: Number of processes.
        keys: Its `extend` returns the keys and values of all tokens, given those of this process.
    """

    def __init__(self, rank: int, size: int, keys: Cache) -> None:
        self.rank, self.size, self.keys = rank, size, keys

    @abstractmethod
    def take(self, hidden: Float[Tensor, "B S D"]) -> Float[Tensor, "B R D"]:
        """The tokens of this process; in the backward pass, every process gets the gradients of all tokens."""

    @abstractmethod
    def join(self, hidden: Float[Tensor, "B R D"]) -> Float[Tensor, "B S D"]:
        """The tokens of all processes, which must then compute the same with them."""

    def own(self, length: int) -> slice:
        """The tokens of this process, of a number of tokens that the number of processes divides."""
        share = length // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def padded(self, hidden: Tensor, tokens: TokenSequence) -> tuple[Tensor, TokenSequence]:
        """Adds invalid tokens to each row until the number of processes divides their number."""
        extra = -hidden.shape[1] % self.size
        if not extra:
            return hidden, tokens

        names = ("positions", "ar", "segment", "branch", "valid")
        padded: dict[str, Any] = {name: F.pad(getattr(tokens, name), (0, extra)) for name in names}
        return F.pad(hidden, (0, 0, 0, extra)), replace(tokens, **padded)
