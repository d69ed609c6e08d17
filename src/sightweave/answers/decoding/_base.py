"""What every decoding method is: logits to next ids, and for beams the row that each came from."""

from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """The next token of every row."""

    ids: Int[Tensor, " B"]
    """int64 B."""
    logprobs: Float[Tensor, " B"]
    """Natural-log probability of each under the model's own distribution (before temperature or cuts)."""
    rows: Int[Tensor, " B"] | None = None
    """Which row each one continues; None where every row continues itself."""


class Decoder(Protocol):
    """One decoding of a batch; made anew for each call of generation."""

    width: int
    """Rows for each prompt: 1, or the number of beams (the caller repeats prompts so often)."""

    def choose(self, logits: Float[Tensor, "B V"], is_done: Tensor) -> Choice:
        """Chooses for rows that go on; what it says for rows that are done is ignored."""
        ...

    def best(self, totals: Float[Tensor, " B"], lengths: Int[Tensor, " B"]) -> Int[Tensor, " P"]:
        """The row to return for each prompt, given summed log-probabilities and lengths."""
        ...
