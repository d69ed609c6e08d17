"""Decodes ids to text, as a whole or as a stream of pieces that never split a character."""

from __future__ import annotations

from collections.abc import Sequence

from sightweave.answers.writers._base import decoded
from sightweave.core.config import config
from sightweave.core.types import Prediction
from sightweave.data.inputs.tokenizer import StreamDecoder, Tokenizer


@config
class Config:
    """The text writer has no options."""

    def build(self, *, tokenizer: Tokenizer) -> Text:
        """Builds the writer for a tokenizer."""
        return Text(tokenizer)


class Text:
    """Makes predictions from generated ids.

    Args:
        tokenizer: Decodes the ids. The end token is counted but not part of the text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def write(self, ids: Sequence[int], total_logprob: float) -> Prediction:
        """The prediction of an answer.

        Args:
            ids: All generated tokens, including the end token if there is one.
            total_logprob: Sum of the natural-log probabilities of `ids`.
        """
        return decoded(self.tokenizer, ids, total_logprob)

    def pieces(self) -> StreamDecoder:
        """A decoder that returns the same text in pieces while its ids are generated."""
        return StreamDecoder(self.tokenizer)
