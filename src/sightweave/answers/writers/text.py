"""Ids to text, whole or as a stream of pieces that never cut a character."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sightweave.core.config import config
from sightweave.core.types import Prediction


class _Tokenizer(Protocol):
    end_id: int

    def decode(self, ids: Sequence[int]) -> str: ...


@config
class Config:
    """Nothing to choose."""

    def build(self, *, tokenizer: _Tokenizer) -> Text:
        """The writer for a tokenizer."""
        return Text(tokenizer.decode, end_id=tokenizer.end_id)


class Text:
    """Makes predictions from what was generated.

    Args:
        decode: Ids to text.
        end_id: The token that ends an answer; it is counted, not written.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], *, end_id: int) -> None:
        self.decode, self.end_id = decode, end_id

    def write(self, ids: Sequence[int], total_logprob: float) -> Prediction:
        """One prediction.

        Args:
            ids: All that was generated, the end token included where it came.
            total_logprob: Sum of the natural-log probabilities of `ids`.
        """
        ended = bool(ids) and ids[-1] == self.end_id
        return Prediction(
            text=self.decode(ids[:-1] if ended else ids),
            logprob=total_logprob / max(1, len(ids)),
            tokens=len(ids),
            finish="stop" if ended else "length",
        )
