"""How long an answer may be, and how its tokens are chosen."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, NonNegativeInt, PositiveInt

from sightweave.answers.decoding import greedy
from sightweave.answers.writers import text
from sightweave.core.config import config, one_of
from sightweave.programs.generation import stopping
from sightweave.programs.generation.stopping import Limits


def _as_texts(value: Any) -> Any:
    """A single stop text as a tuple of one."""
    return (value,) if isinstance(value, str) else value


@config
class Options:
    """Options for generating answers."""

    max_tokens: NonNegativeInt = 96
    """Maximum tokens per answer, including the end token; 0 generates nothing and only scores given texts."""
    stop: Annotated[tuple[str, ...], BeforeValidator(_as_texts), AfterValidator(stopping.checked)] = ()
    """Stop texts: an answer ends before the first one that its text contains."""
    decoding: Annotated[Any, one_of("answers.decoding")] = greedy.Config()
    """Decoding method: a kind in ``answers/decoding``, or its Config."""
    writer: Annotated[Any, one_of("answers.writers")] = text.Config()
    """Writer that turns tokens into an answer: a kind in ``answers/writers``, or its Config."""
    seed: int = 0
    """Random seed for sampling; with it a sample's answer depends on the sample alone, whatever it is batched with."""
    batch_size: PositiveInt = 256
    """Maximum samples in a batch."""
    max_batch_tokens: PositiveInt | None = None
    """Maximum tokens in a batch, padding and answers included. None derives it from free memory. It changes no answer."""

    @property
    def limits(self) -> Limits:
        """Where each answer stops before its end token."""
        return Limits(self.max_tokens, self.stop)
