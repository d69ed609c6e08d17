"""Ids to text, whole or as a stream of pieces that never cut a character."""

from __future__ import annotations

from collections.abc import Sequence

from sightweave.core.config import config
from sightweave.core.types import Prediction
from sightweave.data.inputs.tokenizer import StreamDecoder, Tokenizer


@config
class Config:
    """Nothing to choose."""

    def build(self, *, tokenizer: Tokenizer) -> Text:
        """The writer for a tokenizer."""
        return Text(tokenizer)


class Text:
    """Makes predictions from what was generated.

    Args:
        tokenizer: Makes text of ids. The token that ends an answer is counted, not written.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def write(self, ids: Sequence[int], total_logprob: float) -> Prediction:
        """One prediction.

        Args:
            ids: All that was generated, the end token included where it came.
            total_logprob: Sum of the natural-log probabilities of `ids`.
        """
        ended = bool(ids) and ids[-1] == self.tokenizer.end_id
        return Prediction(
            text=self.tokenizer.decode(ids[:-1] if ended else ids),
            logprob=total_logprob / max(1, len(ids)),
            tokens=len(ids),
            finish="stop" if ended else "length",
            ids=tuple(ids),
        )

    def pieces(self) -> StreamDecoder:
        """The same text while its ids come."""
        return StreamDecoder(self.tokenizer)
