"""Options for generation: the length of an answer, and how its tokens are chosen."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt

from sightweave.answers.decoding import greedy
from sightweave.answers.writers import text
from sightweave.core.config import config, one_of
from sightweave.programs.generation import stopping
from sightweave.programs.generation.stopping import Limits


def _as_texts(value: Any) -> Any:
    """Wraps a single stop text in a tuple."""
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
    picture_decoding: Annotated[Any, one_of("answers.decoding")] = greedy.Config()
    """Decoding method for the codes of pictures, if the writer makes any: a kind in ``answers/decoding``, or its Config."""
    guidance: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Factor of the difference that the prompt makes to the logits of a picture; 1 for none, above 1 follows the prompt more
    closely. Needs a model that was trained with hide_prompts."""
    seed: int = 0
    """Random seed for sampling; with the same seed, a sample's answer does not depend on the other samples in its
    batch."""
    batch_size: PositiveInt = 256
    """Maximum number of samples in a batch."""
    max_batch_tokens: PositiveInt | None = None
    """Maximum number of tokens in a batch, including padding and answers; None derives it from free memory. It does not
    affect the answers."""

    @property
    def draws_pictures(self) -> bool:
        """Whether the writer makes pictures, so that the answers may contain image tokens."""
        return bool(getattr(self.writer, "draws_pictures", False))

    @property
    def limits(self) -> Limits:
        """The limits at which an answer stops unless an end token comes first."""
        return Limits(self.max_tokens, self.stop)
