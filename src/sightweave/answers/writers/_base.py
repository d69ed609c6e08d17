"""What every writer is: the ids of an answer to a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sightweave.core.types import Prediction


class Pieces(Protocol):
    """An answer that is written while its ids come."""

    def push(self, index: int) -> str:
        """What is new in the text with one more id; the end of an answer is not pushed."""
        ...

    def close(self) -> str:
        """The rest of the text."""
        ...


class Writer(Protocol):
    """Makes predictions; a kind's ``Config.build(tokenizer=)`` makes it for a tokenizer."""

    # One that can write while ids come may have ``pieces() -> Pieces``; without it a streamed answer comes in one piece.

    def write(self, ids: Sequence[int], total_logprob: float) -> Prediction:
        """One prediction, with the `ids` in it.

        Args:
            ids: All that was generated, the end token included where it came.
            total_logprob: Sum of the natural-log probabilities of `ids`.
        """
        ...
