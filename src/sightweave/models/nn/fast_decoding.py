"""Fast decoding on a CPU: processes one token per row in a causal stack, with few and fast calls.

A decoding step multiplies only a few rows, so most of the time is spent on reading weights and on the overhead of
calls, not on arithmetic. Three measures reduce this time and change the results only by rounding:

- a norm becomes one divisor per row, applied after the matrix: ``norm(h) @ W = (h @ (weight * W)) / rms(h)``;
- matrices that read the same vector are joined (query, key and value; gate and up) and include the norm's weight;
- weights are stored in a layout that suits the number of rows: for one row, a transposed copy is read nearly twice as
  fast; for several rows, oneDNN's blocked layout is faster.

Many rows at once, as in an evaluation, are instead limited by reading each row's keys and values from memory. A prefix
that several rows have in common (such as the tokens of an image with many questions) is therefore stored once and read
once per step, and prompts are processed without padding.

Copying large weights takes as long as about twelve steps, and most answers are short. Copies are therefore made only
when a text becomes long enough for them to pay off. They are kept for the next text, and made again if a weight was
replaced, moved, or changed in a way that PyTorch tracks (see `Layouts`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sightweave.core.cache import Cache, Groups, Shared
from sightweave.models.nn.block import Block
from sightweave.models.nn.norm import RMSNorm, cpu_scale
from sightweave.models.nn.position import Rotary, rotate

_SMALL_BYTES = 32 << 20
"""Maximum size of stacks that are copied immediately, because most of their time is spent on the overhead of calls."""
_REUSE_STEP = 4
"""Number of the step at which kept copies of large weights are checked and reused."""
_COPY_STEP = 8
"""Number of the step at which large weights are copied if no copies were kept."""
_COLUMNS = 512
"""Number of rows to transpose at once; these fit in the processor's cache, which is three times as fast as transposing
all rows at once."""
_POSITIONS = 64
"""Number of rotations to compute in advance."""
_SCORES = 1 << 23
"""Maximum number of attention scores in memory while processing prompts (32 MB); softmax and reordering make a few
copies of them."""
_MANY_ROWS = 16
"""Minimum number of rows for which batched matrix products are faster than torch's fused attention, which loops over
rows."""

Project = Callable[[Tensor], Tensor]
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function from queries ``N Hkv G Dh`` and new keys and values ``N Hkv 1 Dh`` to the attended values."""
Matrices = tuple[Project, Project, Tensor, Tensor]


def prepare(
    blocks: Sequence[nn.Module] | nn.ModuleList,
    rotary: Rotary | None,
    norm: nn.Module,
    head: Float[Tensor, "V D"],
    layouts: Layouts | None = None,
) -> FastDecoding | None:
    """The prepared stack of these parts, or None if its outputs would differ from theirs.

    Only stacks with RMS norms, rotary positions, no biases, and fp32 weights on a CPU are supported, and no block may
    be in training mode. `layouts` keeps copies of the weights between calls.
    """
    stack = [block for block in blocks if isinstance(block, Block) and _is_supported(block)]
    if len(stack) < len(blocks) or rotary is None or torch.is_autocast_enabled("cpu"):
        return None
    if not isinstance(norm, RMSNorm) or norm.weight is None or not _is_plain(head):
        return None

    return FastDecoding(stack, rotary=rotary, norm=norm, head=head, layouts=layouts)


def _is_supported(block: Block) -> bool:
    """Whether a block has only features that this module supports, and only fp32 weights on a CPU."""
    for norm in (block.attention_norm, block.feed_forward_norm):
        if not isinstance(norm, RMSNorm) or norm.weight is None:
            return False

    has_other_features = (
        block.memory_attention is not None
        or block.attention_scale is not None
        or block.attention.score_scale is not None
        or block.feed_forward.form in ("quick_gelu", "geglu")
    )
    if has_other_features or block.training:
        return False

    # A replaced layer, such as an adapter's, would be skipped, because its weight is read without calling it.
    for layer in _layers(block):
        if type(layer) is not nn.Linear or layer.bias is not None:
            return False

    return all(map(_is_plain, block.parameters()))


def _layers(block: Block) -> list[nn.Module]:
    """The linear layers of a block, whose weights are read without calling the layers."""
    attention, inner = block.attention, block.feed_forward
    layers: list[nn.Module] = [attention.q, attention.k, attention.v, attention.out, inner.up, inner.down]
    return layers if inner.gate is None else [*layers, inner.gate]


def _is_plain(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32


class Layouts:
    """Copies of weights in another memory layout, each with the versions of the original weights.

    PyTorch tracks every change of a tensor in place, such as by an optimizer or by `load_state_dict`, but not a change
    through ``tensor.data`` or through an array that shares its memory. Code that makes such changes must call `forget`.
    Weights that were created under ``torch.inference_mode()`` are not tracked, and copies of them are not kept.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[list[_Version], Any]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Layouts, ()  # a copy of the model has other weights, so it starts without copies

    def fresh(self, name: str, weights: Sequence[Tensor]) -> Any:
        """The copy with this name; None if there is none or if the weights have changed since it was made."""
        held = self._held.get(name)  # another thread may forget the copy in the meantime
        if held is None:
            return None

        versions, copy = held
        is_same = len(versions) == len(weights) and all(map(_Version.is_of, versions, weights))
        return copy if is_same else None

    def keep(self, name: str, weights: Sequence[Tensor], copy: Any) -> Any:
        """Stores a copy in place of an older one with the same name, and returns it."""
        if any(weight.is_inference() for weight in weights):
            self._held.pop(name, None)
        else:
            self._held[name] = [_Version.now(weight) for weight in weights], copy
        return copy

    def forget(self) -> None:
        """Removes all copies, because weights may have changed in a way that PyTorch does not track."""
        self._held.clear()


@dataclass(frozen=True)
class _Version:
    """The identity of a weight and its state at one moment."""

    weight: weakref.ref[Tensor]
    address: int
    changes: int
    """PyTorch's counter of in-place changes."""

    @classmethod
    def now(cls, weight: Tensor) -> _Version:
        return cls(weakref.ref(weight), weight.data_ptr(), weight._version)

    def is_of(self, weight: Tensor) -> bool:
        """Whether the weight is still in this state."""
        return (
            self.weight() is weight and self.address == weight.data_ptr() and self.changes == weight._version
        )


class FastDecoding:
    """A prepared stack; each call processes one token of each row. Created for one call of generation.

    Args:
        blocks: Blocks of the stack, with the features that `prepare` requires.
        rotary: Rotary positions of the stack.
        norm: The final norm.
        head: Weight of the output head (V D).
        layouts: Keeps copies of the weights for the next generation; None keeps them for this generation only.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        *,
        rotary: Rotary,
        norm: RMSNorm,
        head: Float[Tensor, "V D"],
        layouts: Layouts | None = None,
    ) -> None:
        self._layers = [_Layer(block) for block in blocks]
        self._rotary, self._norm, self._head_weight = rotary, _Norm(norm), head
        self._head: Project = lambda x: F.linear(x, head)
        self._rotations: tuple[Tensor, ...] = ()
        self._steps = 0

        # Small stacks are copied now; copies of large weights are made after some steps.
        self._weights: list[Tensor] = []
        for block in blocks:
            self._weights += block.parameters()
        size = sum(weight.numel() * weight.element_size() for weight in self._weights)
        self._is_small = size <= _SMALL_BYTES
        self._layouts = Layouts() if layouts is None else layouts
        self._has_joined = self._has_head = False
        if self._is_small:
            self._join(make=True)

    def __call__(
        self, hidden: Float[Tensor, "B D"], positions: Int[Tensor, " B"], cache: Cache, *, largest: int
    ) -> Float[Tensor, "B V"]:
        """Logits of the tokens that follow `hidden`; the cache grows by one token per row.

        Args:
            hidden: Embedded tokens.
            positions: Positions of these tokens.
            cache: Keys and values of the earlier tokens of each row.
            largest: Upper bound of the positions; reading it from the tensor would take time in every step.
        """
        rotation = self._rotation(positions, largest)
        bias = _ragged_bias(cache) if not cache.uniform else _bias(cache, cache.longest + 1)
        attend = partial(_attend_next, cache=cache, bias=bias)
        for index, layer in enumerate(self._layers):
            hidden = layer(hidden, rotation, partial(attend, index))
        cache.lengths, cache.longest = cache.lengths + 1, cache.longest + 1

        # From here on use faster layouts of the weights: kept copies early, new copies if the text becomes long.
        self._steps += 1
        if self._steps == (1 if self._is_small else _REUSE_STEP) or self._steps == _COPY_STEP:
            if len(hidden) == 1:
                self._join(make=self._steps == _COPY_STEP)
            self._lay_out_head(rows=len(hidden), make=self._steps == _COPY_STEP)

        return self._logits(hidden)

    def fits(self, tokens: Int[Tensor, "B S"], shared: Shared | None) -> bool:
        """Whether the attention scores of `read` would fit in memory; the model's own forward pass needs less memory."""
        rows, length = tokens.shape
        padded, width = rows * length, length
        if shared is not None:
            groups, prefix = shared.keys[0].shape[0], shared.keys[0].shape[2]
            padded = max(padded, groups * int(torch.bincount(shared.group).max()) * length)
            width += prefix

        return padded * width * self._layers[0].heads <= _SCORES

    def read(
        self,
        hidden: Float[Tensor, "N D"],
        positions: Int[Tensor, " N"],
        row: Int[Tensor, " N"],
        slot: Int[Tensor, " N"],
        cache: Cache,
    ) -> Float[Tensor, "B V"]:
        """Processes complete prompts without padding, row after row; returns the logits of each row's next token.

        Args:
            hidden: Embedded tokens of all rows.
            positions: Positions of the tokens.
            row: Row of each token.
            slot: Index of each token in its row, from 0.
            cache: An empty cache; its ``shared`` prefix precedes the rows.
        """
        lengths = torch.bincount(row, minlength=cache.rows)
        rotation = self._rotation(positions, int(positions.max()))

        # Run all blocks except the last for all tokens.
        own = Groups(row, cache.rows, self._layers[0].kv_heads)
        attend = partial(_attend_causally, cache=cache, row=row, slot=slot, own=own)
        if cache.shared is not None:
            attend = partial(attend, groups=cache.shared.grouped(cache.shared.group[row]))
        for index, layer in enumerate(self._layers[:-1]):
            hidden = layer(hidden, rotation, partial(attend, index))

        # In the last block, earlier tokens are needed only for their keys and values.
        cache.begin(lengths)
        last = lengths.cumsum(0) - 1
        attend = partial(_attend_last, cache=cache, row=row, slot=slot)
        hidden = self._layers[-1](hidden, rotation, partial(attend, len(self._layers) - 1), keep=last)
        return self._logits(hidden)

    def _logits(self, hidden: Tensor) -> Tensor:
        return self._head((hidden * self._norm.weight).div_(self._norm.length(hidden)))

    def _join(self, *, make: bool) -> None:
        """Switches to joined matrices: cached ones, or new ones if `make` is set."""
        if self._has_joined:
            return

        joined = self._layouts.fresh("blocks", self._weights)
        if joined is None and make:
            joined = self._layouts.keep("blocks", self._weights, [layer.joined() for layer in self._layers])

        if joined is not None:
            self._has_joined = True
            for layer, matrices in zip(self._layers, joined, strict=True):
                layer.use(matrices)

    def _lay_out_head(self, *, rows: int, make: bool) -> None:
        """Switches to a head laid out for this number of rows: a cached one, or a new one if `make` is set."""
        if self._has_head:
            return

        name, weights = "head" if rows == 1 else "head of several rows", [self._head_weight]
        held = self._layouts.fresh(name, weights)
        if make and (held is None or held[0] != rows):
            held = self._layouts.keep(name, weights, (rows, _laid_out(self._head_weight, rows=rows)))

        if held is not None and held[0] == rows:
            self._has_head, self._head = True, held[1]

    def _rotation(self, positions: Tensor, largest: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the positions, read from a table that is computed some steps in advance."""
        if not self._rotations or largest >= len(self._rotations[0]):
            ahead = torch.arange(largest + _POSITIONS)[None]
            self._rotations = tuple(part[0, 0] for part in self._rotary(ahead))  # P Dh

        cos, sin = (part[positions][:, None, None] for part in self._rotations)
        return cos, sin  # B 1 1 Dh


class _Norm:
    """An RMS norm in the form ``x * weight / length(x)``, so that the caller can choose when to divide."""

    def __init__(self, norm: nn.Module) -> None:
        assert isinstance(norm, RMSNorm)
        assert norm.weight is not None
        dim = len(norm.weight)
        self.weight = norm.weight * dim**0.5
        self._floor = torch.tensor((dim * norm.eps) ** 0.5)

    def length(self, x: Tensor) -> Tensor:
        """``sqrt(sum(x^2) + dim * eps)`` of each row."""
        return torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), self._floor)


class _Layer:
    """One block, prepared to process one token per row."""

    def __init__(self, block: Block) -> None:
        attention, feed_forward = block.attention, block.feed_forward
        self._attention, self._form = attention, feed_forward.form
        self.heads, self.kv_heads = attention.num_heads, attention.num_kv_heads
        self._attention_norm = _Norm(block.attention_norm)
        self._feed_forward_norm = _Norm(block.feed_forward_norm)

        self._qkv_weights = [attention.q.weight, attention.k.weight, attention.v.weight]
        gate = [] if feed_forward.gate is None else [feed_forward.gate.weight]
        self._inner_weights = [*gate, feed_forward.up.weight]
        self._qkv = _separate(self._qkv_weights, self._attention_norm)
        self._inner = _separate(self._inner_weights, self._feed_forward_norm)
        self._out, self._down = attention.out.weight.t(), feed_forward.down.weight.t()

        self._qk_weight: Tensor | None = None
        if attention.q_norm is not None and attention.k_norm is not None:
            # Use one norm for the heads of queries and keys together.
            both = (attention.q_norm.weight, self.heads), (attention.k_norm.weight, self.kv_heads)
            wide = [weight.expand(count, 1, -1) for weight, count in both if weight is not None]
            self._qk_weight, self._qk_eps = torch.cat(wide), attention.q_norm.eps

    def joined(self) -> Matrices:
        """Copies of the weights in a layout that is fast for one row."""
        qkv = _joined(self._qkv_weights, self._attention_norm)
        inner = _joined(self._inner_weights, self._feed_forward_norm)
        return qkv, inner, _transposed([self._out.t()]), _transposed([self._down.t()])

    def use(self, matrices: Matrices) -> None:
        """Switches to the copies made by `joined`."""
        self._qkv, self._inner, self._out, self._down = matrices

    def __call__(
        self,
        hidden: Float[Tensor, "N D"],
        rotation: tuple[Tensor, Tensor],
        attend: Attend,
        keep: Int[Tensor, " B"] | None = None,
    ) -> Tensor:
        """Runs the block for all rows, or only for the rows in `keep`; `attend` gets the keys and values of all rows."""
        heads, kv_heads, width = self.heads, self.kv_heads, self._attention.head_dim

        joined = self._qkv(hidden).div_(self._attention_norm.length(hidden))
        split = joined.view(-1, heads + 2 * kv_heads, 1, width)  # N H+2Hkv 1 Dh

        # Normalise and rotate queries and keys together.
        queries_keys = split[:, : heads + kv_heads]
        if self._qk_weight is not None:
            queries_keys = (queries_keys * cpu_scale(queries_keys, self._qk_eps)).mul_(self._qk_weight)
        rotated = rotate(queries_keys, rotation)

        # The query heads of a group act as positions, so that keys and values need not be expanded.
        queries = rotated[:, :heads].reshape(-1, kv_heads, heads // kv_heads, width)
        if keep is not None:
            hidden, queries = hidden[keep], queries[keep]
        attended = attend(queries, rotated[:, heads:], split[:, heads + kv_heads :])
        hidden = torch.addmm(hidden, attended.reshape(len(hidden), -1), self._out)

        inner = self._inner(hidden).div_(self._feed_forward_norm.length(hidden))
        return torch.addmm(hidden, self._activated(inner), self._down)

    def _activated(self, inner: Tensor) -> Tensor:
        """Applies the activation of the feed-forward layer, in place if possible."""
        if self._form == "swiglu":
            gate, up = inner.chunk(2, -1)
            return F.silu(gate).mul_(up)
        if self._form == "relu":
            return inner.relu_()
        if self._form == "relu2":
            return inner.relu_().square_()
        return F.gelu(inner, approximate="tanh" if self._form == "gelu_tanh" else "none")


def _attend_next(
    layer: int,
    queries: Float[Tensor, "B Hkv G Dh"],
    keys: Float[Tensor, "B Hkv 1 Dh"],
    values: Float[Tensor, "B Hkv 1 Dh"],
    *,
    cache: Cache,
    bias: Float[Tensor, "B 1 1 K"] | None,
) -> Tensor:
    """Attention of one token per row to all earlier tokens and to itself."""
    keys, values = cache.extend(layer, keys, values)
    if len(queries) < _MANY_ROWS and cache.shared is None:
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)

    return _attend_each(layer, queries, keys, values, cache, bias)


def _attend_last(
    layer: int,
    queries: Float[Tensor, "B Hkv G Dh"],
    keys: Float[Tensor, "N Hkv 1 Dh"],
    values: Float[Tensor, "N Hkv 1 Dh"],
    *,
    cache: Cache,
    row: Tensor,
    slot: Tensor,
) -> Tensor:
    """Attention of the last token of each prompt."""
    keys, values = cache.place(layer, row, slot, keys[:, :, 0], values[:, :, 0])
    return _attend_each(layer, queries, keys, values, cache, _bias(cache, keys.shape[2]))


def _ragged_bias(cache: Cache) -> Float[Tensor, "B 1 1 K"]:
    """A bias of minus infinity after each row's next token, for rows of different lengths."""
    slot = torch.arange(cache.longest + 1)
    bias = torch.zeros(cache.rows, 1, 1, len(slot))
    return bias.masked_fill_((slot > cache.lengths[:, None])[:, None, None], -torch.inf)


def _bias(cache: Cache, width: int) -> Float[Tensor, "B 1 1 K"] | None:
    """A bias of minus infinity where a row has padding; None if no row has any."""
    if cache.padding is None:
        return None

    bias = torch.zeros(cache.rows, 1, 1, width)
    bias[..., : cache.padding.shape[1]].masked_fill_(cache.padding[:, None, None], -torch.inf)
    return bias


def _attend_each(
    layer: int,
    queries: Float[Tensor, "B Hkv G Dh"],
    keys: Float[Tensor, "B Hkv K Dh"],
    values: Float[Tensor, "B Hkv K Dh"],
    cache: Cache,
    bias: Float[Tensor, "B 1 1 K"] | None,
) -> Float[Tensor, "R G Dh"]:
    """Attention of one token per row to the row's shared prefix, if any, and to its own tokens."""
    heads, scale = queries.shape[1], queries.shape[3] ** -0.5
    queries = queries.flatten(0, 1)  # R G Dh, R = B Hkv

    added = queries.new_zeros(()) if bias is None else bias.expand(-1, heads, -1, -1).flatten(0, 1)
    scores = torch.baddbmm(added, queries, keys.flatten(0, 1).mT, alpha=scale)
    shared = cache.shared
    if shared is None:
        return torch.bmm(scores.softmax(-1), values.flatten(0, 1))

    # Use one softmax over the shared prefix and the row's own tokens.
    prefix_scores = shared.groups.scores(queries, shared.keys[layer], scale)
    weights = torch.cat([prefix_scores, scores], -1).softmax(-1)
    prefix = prefix_scores.shape[-1]
    from_prefix = shared.groups.values(weights[..., :prefix], shared.values[layer])
    return torch.baddbmm(from_prefix, weights[..., prefix:], values.flatten(0, 1))


def _attend_causally(
    layer: int,
    queries: Float[Tensor, "N Hkv G Dh"],
    keys: Float[Tensor, "N Hkv 1 Dh"],
    values: Float[Tensor, "N Hkv 1 Dh"],
    *,
    cache: Cache,
    row: Tensor,
    slot: Tensor,
    own: Groups,
    groups: Groups | None = None,
) -> Float[Tensor, "R G Dh"]:
    """Attention of the tokens of all prompts, each to its row's shared prefix and to its row's tokens up to itself."""
    tokens, heads, each, width = queries.shape
    scale = width**-0.5
    keys, values = cache.place(layer, row, slot, keys[:, :, 0], values[:, :, 0])
    queries = queries.flatten(0, 1)

    scores = own.scores(queries, keys, scale)  # R G S, R = N Hkv
    is_later = torch.arange(keys.shape[2]) > slot[:, None]
    scores.view(tokens, heads, each, -1).masked_fill_(is_later[:, None, None], -torch.inf)
    shared = cache.shared
    if shared is None or groups is None:
        return own.values(scores.softmax(-1), values)

    # Use one softmax over the shared prefix and the row's own tokens.
    prefix_scores = groups.scores(queries, shared.keys[layer], scale)
    weights = torch.cat([prefix_scores, scores], -1).softmax(-1)
    prefix = prefix_scores.shape[-1]
    from_prefix = groups.values(weights[..., :prefix], shared.values[layer])
    return from_prefix.add_(own.values(weights[..., prefix:], values))


def _separate(parts: Sequence[Tensor], norm: _Norm) -> Project:
    """A function that computes the products of a vector with all `parts`, concatenated.

    The caller must still divide the products by the vector's length.
    """

    def project(x: Tensor) -> Tensor:
        weighted = x * norm.weight
        return torch.cat([F.linear(weighted, part) for part in parts], -1)

    return project


def _joined(parts: Sequence[Tensor], norm: _Norm) -> Project:
    """Like `_separate`, but the function uses one matrix that includes the norm's weight."""
    matrix = _transposed(parts).mul_(norm.weight[:, None])
    return lambda x: torch.mm(x, matrix)


def _transposed(parts: Sequence[Tensor]) -> Tensor:
    """Transposes the parts ``F1 D``, ``F2 D``, ... and joins them: ``D F1+F2+...``."""
    matrix = parts[0].new_empty(parts[0].shape[1], sum(map(len, parts)))

    start = 0
    for part in parts:
        for first in range(0, len(part), _COLUMNS):
            rows = part[first : first + _COLUMNS]
            matrix[:, start : start + len(rows)] = rows.t()
            start += len(rows)

    return matrix


def _laid_out(head: Tensor, *, rows: int) -> Project:
    """A function that applies the head, stored in the memory layout that suits this number of rows."""
    if rows > 1 and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        packed = torch.ops.mkldnn._reorder_linear_weight(head.detach(), rows)
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")

    matrix = _transposed([head])
    return lambda x: torch.mm(x, matrix)
