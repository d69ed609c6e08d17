"""Token embeddings, and the position embeddings that some models add to them."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sightweave.models.nn.init import embedding
from sightweave.models.nn.norm import RMSNorm
from sightweave.models.nn.position import sinusoidal

Positions = Literal["rotary", "learned", "sinusoidal"]
_NEW_TOKEN_SPREAD = 0.1
"""Standard deviation of the rows of new tokens, as a fraction of the standard deviation of the existing rows."""


class TokenEmbedding(nn.Module):
    """A table of V vectors, optionally normalised.

    Args:
        vocab_size: Size V of the vocabulary.
        dim: Width D.
        normalise: Whether to scale embeddings to unit mean square (helps training from scratch with a tied head).
    """

    def __init__(self, vocab_size: int, dim: int, *, normalise: bool = False) -> None:
        super().__init__()
        self.table = embedding(vocab_size, dim)
        self.norm = RMSNorm(dim, affine=False) if normalise else None

    def forward(self, ids: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape D"]:
        """Looks up the embeddings of ids."""
        embedded = self.table(ids)
        return embedded if self.norm is None else self.norm(embedded)  # type: ignore[no-any-return]  # nn.Module calls are untyped


class AddedPositions(nn.Module):
    """Adds learned or sinusoidal positions to the hidden state; adds nothing for ``rotary``.

    Args:
        kind: ``rotary``, ``learned`` or ``sinusoidal``.
        dim: Width D.
        max_length: Number of rows of the learned table.

    Raises:
        ValueError: `kind` is unknown, or `dim` is odd for ``sinusoidal``; in `forward`, a position is outside the
            learned table.
    """

    def __init__(self, kind: Positions, dim: int, *, max_length: int) -> None:
        super().__init__()
        if kind not in ("rotary", "learned", "sinusoidal"):
            raise ValueError(f"position must be rotary, learned or sinusoidal (got {kind!r}).")
        if kind == "sinusoidal" and dim % 2:
            raise ValueError(f"sinusoidal positions need an even width (got {dim}).")

        self.kind = kind
        self.dim = dim
        self.table = embedding(max_length, dim) if kind == "learned" else None

    def forward(
        self, hidden: Float[Tensor, "B S D"], positions: Int[Tensor, "B S"]
    ) -> Float[Tensor, "B S D"]:
        """Adds the vector of each token's position."""
        if self.table is not None:
            longest = int(positions.max()) if positions.numel() else 0
            if longest >= self.table.num_embeddings:
                raise ValueError(
                    f"position {longest} is outside the {self.table.num_embeddings} learned positions; raise max_length."
                )

        return self.add(hidden, positions)

    def add(self, hidden: Float[Tensor, "B S D"], positions: Int[Tensor, "B S"]) -> Float[Tensor, "B S D"]:
        """Like `forward`, for positions known to be valid; it does not inspect values, so it can be traced."""
        if self.table is not None:
            return hidden + self.table(positions)  # type: ignore[no-any-return]  # nn.Module calls are untyped
        if self.kind == "sinusoidal":
            return hidden + sinusoidal(positions, self.dim).to(hidden.dtype)
        return hidden

    @property
    def rotary(self) -> bool:
        """Whether attention must apply rotary positions instead."""
        return self.kind == "rotary"


def head_logits(hidden: Float[Tensor, "R D"], weight: Float[Tensor, "V D"]) -> Float[Tensor, "R V"]:
    """Logits of a head that is tied to the embedding table."""
    return torch.nn.functional.linear(hidden, weight)


def with_new_rows(table: Float[Tensor, "V ..."], drawn: Float[Tensor, "W ..."]) -> Float[Tensor, "T ..."]:
    """Appends rows for new tokens to a table (or a bias), in the directions of the random values `drawn`.

    New rows are near the mean of all rows, so that new tokens are initially neither more nor less likely than the
    others.
    """
    drawn = drawn / drawn.std(correction=0).clamp(min=1e-12)
    return torch.cat([table, table.mean(0) + _NEW_TOKEN_SPREAD * table.std(0) * drawn])
