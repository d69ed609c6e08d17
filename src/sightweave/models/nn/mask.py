"""Attention masks, which tell which tokens may attend to which; they are computed from integer vectors and never stored.

Follows ``make_attn_mask`` of big_vision (PaliGemma, Beyer et al. 2024, arXiv:2407.07726), and adds segments and
branches.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sightweave.core.batch import Memory, TokenSequence
from sightweave.core.cache import Cache


@dataclass(frozen=True)
class Mask:
    """A mask for scaled dot-product attention.

    ``dense`` is None if no token is hidden, or only later tokens (``causal``): the fused kernels support these cases
    directly.
    """

    dense: Bool[Tensor, "B 1 S K"] | None = None
    causal: bool = False
    blind_rows: Bool[Tensor, "B 1 S 1"] | None = None
    """True for a token that may not attend to anything; its attention output is zero."""
    scores: Float[Tensor, "B H S K"] | None = None
    """Values to add to the scores of each head, which include the mask itself; if given, ``dense`` and ``causal`` are
    unused."""
    _biases: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @property
    def shows_all(self) -> bool:
        """Whether no values are added to the scores, so that all tokens are visible (except later ones, if ``causal``)."""
        return self.dense is None and self.scores is None

    def plus(self, scores: Float[Tensor, "B H S K"]) -> "Mask":
        """The same mask with values added to the scores of each head."""
        dense = self.dense
        if self.causal:
            dense = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).tril()

        hidden = scores if dense is None else scores.masked_fill(~dense, -torch.inf)
        return Mask(scores=hidden, blind_rows=self.blind_rows)

    def bias(self, dtype: torch.dtype) -> Tensor | None:
        """Values to add to the scores: ``scores``, or 0 and minus infinity according to ``dense``; None if there are none.

        These are computed once for all layers, because the fused CPU kernel would convert the booleans in each layer.
        """
        if self.scores is not None:
            return self.scores.to(dtype)
        if self.dense is None:
            return None

        if dtype not in self._biases:
            zeros = torch.zeros(self.dense.shape, dtype=dtype, device=self.dense.device)
            self._biases[dtype] = zeros.masked_fill_(~self.dense, -torch.inf)
        return self._biases[dtype]


def allowed(tokens: TokenSequence, queries: slice = slice(None)) -> Bool[Tensor, "B Q S"]:
    """The boolean mask of a sequence: ``[b, i, j]`` tells whether token i of `queries` may attend to token j.

    A token may always attend to itself, so that padding tokens have something to attend to.
    """
    level = tokens.ar.cumsum(1)
    table = level[:, None, :] <= level[:, queries, None]
    table &= tokens.segment[:, None, :] == tokens.segment[:, queries, None]
    table &= _visible_branch(tokens.branch[:, queries], tokens.branch)
    table &= tokens.valid[:, None, :]

    number = torch.arange(table.shape[2], device=table.device)
    return table | (number == number[queries, None])


def _visible_branch(queries: Int[Tensor, "B S"], keys: Int[Tensor, "B K"]) -> Bool[Tensor, "B S K"]:
    """Whether keys are in the trunk or in the same branch as the queries, given the branches of both."""
    return (keys[:, None, :] == 0) | (keys[:, None, :] == queries[:, :, None])


def self_mask(tokens: TokenSequence, cache: Cache | None = None) -> Mask:
    """The mask of self-attention over a sequence that follows the cached tokens."""
    if cache is None or cache.longest == 0:
        return Mask(causal=True) if tokens.plain else Mask(dense=allowed(tokens)[:, None])

    length = tokens.ids.shape[1]
    if cache.uniform and length == 1:
        return Mask()

    # Slots of the cache: row b contains lengths[b] old tokens, followed by the new tokens and unused slots.
    lengths = cache.lengths.to(tokens.ids.device)
    slot = torch.arange(cache.longest + length, device=tokens.ids.device)
    table = (slot < lengths[:, None])[:, None, :].expand(-1, length, -1)

    fresh = slot - lengths[:, None]  # B K: number of the new token in each slot
    is_fresh = (fresh >= 0) & (fresh < length)
    among_new = allowed(tokens).gather(2, fresh.clamp(0, length - 1)[:, None, :].expand(-1, length, -1))
    return Mask(dense=(table | (among_new & is_fresh[:, None, :]))[:, None])


def memory_mask(tokens: TokenSequence, memory: Memory) -> Mask:
    """The mask of attention to a memory.

    A token may attend to the memory of its own row and segment, if that is in the token's branch or in the trunk.
    """
    table = tokens.segment[:, :, None] == memory.segment[:, None, :]
    table &= _visible_branch(tokens.branch, memory.branch)
    table &= memory.valid[:, None, :]

    blind = ~table.any(2, keepdim=True)
    return Mask(dense=(table | blind)[:, None], blind_rows=blind[:, None])
