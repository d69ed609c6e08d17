"""How long an answer may be, and how its tokens are chosen."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import NonNegativeInt, PositiveInt

from sightweave.answers.decoding import greedy
from sightweave.answers.writers import text
from sightweave.core.config import config, one_of


@config
class Options:
    """How long to write, and how to choose."""

    max_tokens: NonNegativeInt = 96
    """Tokens of an answer at most, the end token included; 0 writes nothing and only judges."""
    decoding: Annotated[Any, one_of("answers.decoding")] = greedy.Config()
    """A kind in ``answers/decoding``, or its Config."""
    writer: Annotated[Any, one_of("answers.writers")] = text.Config()
    """What makes an answer of the chosen tokens: a kind in ``answers/writers``, or its Config."""
    seed: int = 0
    """Random seed for sampling; with it a sample's answer depends on the sample alone, whatever it is batched with."""
    batch_size: PositiveInt = 256
    """Maximum samples in a batch."""
    max_batch_tokens: PositiveInt | None = None
    """Maximum tokens in a batch, padding and answers included. None derives it from free memory. It changes no answer."""
