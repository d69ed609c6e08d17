"""The interface of writers, which convert the token ids of an answer to a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sightweave.core.types import Prediction


class Pieces(Protocol):
    """Decodes an answer piece by piece while its ids are generated."""

    def push(self, index: int) -> str:
        """Adds one id and returns the new text; never called with the end token."""
        ...

    def close(self) -> str:
        """Returns the rest of the text."""
        ...


class Writer(Protocol):
    """Turns the ids of an answer into a prediction; built by its module's ``Config.build(tokenizer=...)``."""

    # A writer that can stream has a method ``pieces() -> Pieces``; without it a streamed answer arrives as one piece.

    def write(self, ids: Sequence[int], total_logprob: float) -> Prediction:
        """The prediction of an answer, including its `ids`.

        Args:
            ids: All generated tokens, including the end token if there is one.
            total_logprob: Sum of the natural-log probabilities of `ids`.
        """
        ...
