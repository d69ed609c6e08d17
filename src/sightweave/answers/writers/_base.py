"""The interface of every writer: token ids of an answer in, a prediction out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sightweave.core.types import Prediction


class Pieces(Protocol):
    """An answer that is decoded while its ids are generated."""

    def push(self, index: int) -> str:
        """Adds one id and returns the new text; never called with the end token."""
        ...

    def close(self) -> str:
        """The rest of the text."""
        ...


class Writer(Protocol):
    """Makes predictions; the ``Config.build(tokenizer=)`` of its module builds it for a tokenizer."""

    # A writer that can stream has ``pieces() -> Pieces``; without it a streamed answer comes in one piece.

    def write(self, ids: Sequence[int], total_logprob: float) -> Prediction:
        """The prediction of an answer, including its `ids`.

        Args:
            ids: All generated tokens, including the end token if there is one.
            total_logprob: Sum of the natural-log probabilities of `ids`.
        """
        ...
