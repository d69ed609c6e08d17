"""One token per row through a causal stack, with as few and as fast calls as a CPU allows.

A decoding step multiplies a handful of rows, so the time goes into reading weights and into the number of calls, not into
arithmetic. Three things help, and leave the numbers what they are but for rounding:

- a norm becomes one factor per row, applied behind the matrix: ``norm(h) @ W = (h @ (weight * W)) / rms(h)``;
- small matrices that read the same vector are joined (query, key and value; gate and up), with the norm's weight inside;
- weights are laid out for the number of rows: a transposed copy reads nearly twice as fast for one row, oneDNN's blocked
  one for several. The head gets such a copy, but late: it costs as much as a dozen steps, and most answers are short.

Large blocks are used as they are, because a copy of them costs as much memory as the model and too little is won. Copies
belong to one call of generation: weights that change between two calls are never served stale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sightweave.core.cache import Cache
from sightweave.models.nn.block import Block
from sightweave.models.nn.norm import RMSNorm
from sightweave.models.nn.position import Rotary, rotate

_JOINED_BYTES = 32 << 20
"""Blocks that need no more than this together are copied into joined matrices."""
_HEAD_STEPS = 8
"""Steps after which the head is laid out anew."""
_COLUMNS = 512
"""Rows transposed at once: what the processor's cache holds; three times as fast as all at once."""

Project = Callable[[Tensor], Tensor]


def prepare(
    blocks: Sequence[nn.Module] | nn.ModuleList,
    rotary: Rotary | None,
    norm: nn.Module,
    head: Float[Tensor, "V D"],
) -> FastDecoding | None:
    """The stack of these parts, or None where it would not give what they give.

    It wants RMS norms, rotary positions, no biases, fp32 weights on a CPU, and blocks that are not in training.
    """
    stack = [block for block in blocks if isinstance(block, Block) and _fits(block)]
    if len(stack) < len(blocks) or rotary is None or torch.is_autocast_enabled("cpu"):
        return None
    if not isinstance(norm, RMSNorm) or norm.weight is None or not _is_plain(head):
        return None
    return FastDecoding(stack, rotary=rotary, norm=norm, head=head)


def _fits(block: Block) -> bool:
    norms = (block.attention_norm, block.feed_forward_norm)
    return (
        all(isinstance(norm, RMSNorm) and norm.weight is not None for norm in norms)
        and block.memory_attention is None
        and not block.training
        and all(_is_plain(parameter) for parameter in block.parameters())
        and not any(isinstance(part, nn.Linear) and part.bias is not None for part in block.modules())
    )


def _is_plain(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32


class FastDecoding:
    """A prepared stack; each call feeds one token to every row. Made for one call of generation.

    Args:
        blocks: The stack, as `prepare` wants it.
        rotary: Its positions.
        norm: The last norm.
        head: V D: what makes logits.
    """

    def __init__(
        self, blocks: Sequence[Block], *, rotary: Rotary, norm: RMSNorm, head: Float[Tensor, "V D"]
    ) -> None:
        size = sum(p.numel() * p.element_size() for block in blocks for p in block.parameters())
        self._layers = [_Layer(block, joined=size <= _JOINED_BYTES) for block in blocks]
        self._rotary, self._norm = rotary, _Scale(norm)
        self._weight = _weight(norm)
        self._head_weight = head
        self._head: Project = lambda x: F.linear(x, head)
        self._steps = 0

    def __call__(
        self, hidden: Float[Tensor, "B D"], positions: Int[Tensor, " B"], cache: Cache
    ) -> Float[Tensor, "B V"]:
        """Logits of the next token; the cache grows by one token per row."""
        cos, sin = self._rotary(positions[:, None])
        bias = None
        if not cache.uniform:
            slot = torch.arange(cache.longest + 1)
            bias = torch.zeros(len(hidden), 1, 1, len(slot))
            bias.masked_fill_((slot > cache.lengths[:, None])[:, None, None], -torch.inf)
        for index, layer in enumerate(self._layers):
            hidden = layer(hidden, (cos, sin), bias, cache, index)
        cache.advance(torch.ones(len(hidden), 1, dtype=torch.bool))
        self._steps += 1
        if self._steps == _HEAD_STEPS:
            self._head = _laid_out(self._head_weight, rows=len(hidden))
        return self._head(hidden * self._norm(hidden) * self._weight)


class _Scale:
    """``1 / sqrt(mean(x^2) + eps)`` of each row in a few calls."""

    def __init__(self, norm: RMSNorm) -> None:
        dim = _weight(norm).shape[0]
        self._root_dim, self._root_eps = dim**0.5, torch.tensor((dim * norm.eps) ** 0.5)

    def __call__(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return torch.hypot(length, self._root_eps).reciprocal_().mul_(self._root_dim)


class _Layer:
    """One block for one token per row."""

    def __init__(self, block: Block, *, joined: bool) -> None:
        attention, feed_forward = block.attention, block.feed_forward
        self._heads, self._kv_heads = attention.num_heads, attention.num_kv_heads
        self._head_dim = attention.head_dim
        self._before_attention = _Scale(_rms(block.attention_norm))
        self._before_feed_forward = _Scale(_rms(block.feed_forward_norm))
        gate = [] if feed_forward.gate is None else [feed_forward.gate]
        self._qkv = _read(_rms(block.attention_norm), [attention.q, attention.k, attention.v], joined)
        self._inner = _read(_rms(block.feed_forward_norm), [*gate, feed_forward.up], joined)
        self._out, self._down = attention.out.weight.t(), feed_forward.down.weight.t()
        if joined:
            self._out, self._down = self._out.contiguous(), self._down.contiguous()
        self._form = feed_forward.form
        self._q_norm, self._k_norm = attention.q_norm, attention.k_norm

    def __call__(
        self, hidden: Tensor, rotation: tuple[Tensor, Tensor], bias: Tensor | None, cache: Cache, layer: int
    ) -> Tensor:
        rows, heads, kv_heads = len(hidden), self._heads, self._kv_heads
        joined = self._qkv(hidden).mul_(self._before_attention(hidden))
        split = joined.view(rows, heads + 2 * kv_heads, 1, self._head_dim)  # B H+2Hkv 1 Dh
        turning = split[:, : heads + kv_heads]
        if self._q_norm is not None and self._k_norm is not None:
            turning = torch.cat([self._q_norm(turning[:, :heads]), self._k_norm(turning[:, heads:])], 1)
        turned = rotate(turning, rotation)
        keys, values = cache.extend(layer, turned[:, heads:], split[:, heads + kv_heads :])
        # The query heads of a group become positions, and nothing is expanded.
        queries = turned[:, :heads].reshape(rows, kv_heads, heads // kv_heads, self._head_dim)
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        hidden = torch.addmm(hidden, attended.reshape(rows, -1), self._out)
        inner = self._inner(hidden).mul_(self._before_feed_forward(hidden))
        return torch.addmm(hidden, self._activated(inner), self._down)

    def _activated(self, inner: Tensor) -> Tensor:
        if self._form == "swiglu":
            gate, up = inner.chunk(2, -1)
            return F.silu(gate).mul_(up)
        if self._form == "relu":
            return inner.relu_()
        if self._form == "relu2":
            return inner.relu_().square_()
        return F.gelu(inner, approximate="tanh" if self._form == "gelu_tanh" else "none")


def _read(norm: RMSNorm, parts: Sequence[nn.Linear], joined: bool) -> Project:
    """What all `parts` make of a normalised vector, side by side, still to be multiplied by the norm's scale."""
    weight = _weight(norm)
    if joined:
        matrix = (torch.cat([part.weight for part in parts]) * weight).t().contiguous()
        return lambda x: torch.mm(x, matrix)

    def one_by_one(x: Tensor) -> Tensor:
        weighted = x * weight
        return torch.cat([F.linear(weighted, part.weight) for part in parts], -1)

    return one_by_one


def _laid_out(head: Tensor, *, rows: int) -> Project:
    """The head in the order of memory that suits so many rows."""
    if rows > 1 and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        packed = torch.ops.mkldnn._reorder_linear_weight(head.detach(), rows)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    transposed = head.new_empty(head.shape[1], head.shape[0])
    for start in range(0, head.shape[0], _COLUMNS):
        transposed[:, start : start + _COLUMNS] = head[start : start + _COLUMNS].t()
    return lambda x: torch.mm(x, transposed)


def _rms(norm: nn.Module) -> RMSNorm:
    assert isinstance(norm, RMSNorm)
    return norm


def _weight(norm: RMSNorm) -> Tensor:
    assert norm.weight is not None
    return norm.weight
