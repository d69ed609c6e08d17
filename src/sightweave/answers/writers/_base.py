"""The interface of writers, which convert the token ids of an answer to a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from sightweave.core.types import Prediction, Sample
from sightweave.data.inputs.tokenizer import Tokenizer


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
    # A writer that needs the prompt, such as its image, is `Completing` too.

    def write(self, ids: Sequence[int], total_logprob: float) -> Prediction:
        """The prediction of an answer, including its `ids`.

        Args:
            ids: All generated tokens, including the end token if there is one.
            total_logprob: Sum of the natural-log probabilities of `ids`.
        """
        ...


@runtime_checkable
class Completing(Protocol):
    """A writer that adds to a prediction what depends on its prompt."""

    def complete(self, prediction: Prediction, sample: Sample) -> Prediction:
        """The complete prediction.

        Args:
            prediction: The result of `Writer.write`, cut before the first stop text.
            sample: The prompt.
        """
        ...


def decoded(tokenizer: Tokenizer, ids: Sequence[int], total_logprob: float) -> Prediction:
    """The prediction whose text is that of the ids; arguments as for `Writer.write`."""
    ended = bool(ids) and ids[-1] == tokenizer.end_id

    return Prediction(
        text=tokenizer.decode(ids[:-1] if ended else ids),
        logprob=total_logprob / max(1, len(ids)),
        tokens=len(ids),
        finish="stop" if ended else "length",
        ids=tuple(ids),
    )
