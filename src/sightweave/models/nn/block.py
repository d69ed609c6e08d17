"""The Transformer block: attention, optional attention to a memory, and feed-forward, each with a pre-norm residual."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sightweave.core.cache import Cache
from sightweave.models.nn.attention import Attention
from sightweave.models.nn.feed_forward import FeedForward, Form
from sightweave.models.nn.mask import Mask
from sightweave.models.nn.norm import make_norm
from sightweave.models.nn.position import Rotation


@dataclass(frozen=True, kw_only=True)
class BlockShape:
    """The settings shared by the blocks of one stack: their widths, and the forms of their layers."""

    dim: int
    """Width D."""
    num_heads: int
    """Number of query heads H."""
    hidden_dim: int
    """Width F inside the feed-forward layer."""
    num_kv_heads: int | None = None
    """Number of key-value heads; None means H."""
    head_dim: int | None = None
    """Width Dh of one head; None means D / H."""
    feed_forward: Form = "swiglu"
    """Form of the feed-forward layer."""
    norm: str = "rms"
    """Kind of norm: ``rms`` or ``layer``."""
    norm_eps: float = 1e-6
    """Added under the square root of the norms."""
    qk_norm: bool = False
    """Whether to normalise queries and keys."""
    bias: bool = False
    """Whether projections have biases."""
    qkv_bias: bool | None = None
    """Whether the query, key and value projections have biases; None means the same as `bias`."""
    score_scale: float | None = None
    """Factor of the attention scores; None means 1 / sqrt(Dh)."""
    layer_scale: bool = False
    """Whether each residual branch has a learned factor per channel, initially 1 (CaiT, arXiv:2103.17239)."""
    dropout: float = 0.0
    """Dropout probability of the feed-forward layer's hidden values."""

    def __post_init__(self) -> None:
        if self.num_heads < 1:
            raise ValueError(f"num_heads must be 1 or more (got {self.num_heads}).")

    @property
    def width_of_head(self) -> int:
        """Width Dh of one head."""
        return self.head_dim or self.dim // self.num_heads

    def make_norm(self) -> nn.Module:
        """A norm over the width D."""
        return make_norm(self.norm, self.dim, eps=self.norm_eps)

    def blocks(self, depth: int, *, reads_memory: bool = False) -> nn.ModuleList:
        """A stack of `depth` blocks."""
        return nn.ModuleList(Block(self, reads_memory=reads_memory) for _ in range(depth))


class Block(nn.Module):
    """A block: ``h = h + attend(norm(h))``; optionally ``h = h + attend(norm(h), memory)``; ``h = h + ff(norm(h))``.

    Args:
        shape: Widths and forms of the layers.
        reads_memory: Whether the block has attention to a memory of the same width.
    """

    def __init__(self, shape: BlockShape, *, reads_memory: bool = False) -> None:
        super().__init__()
        # The parts are created in the order in which they run, which determines their random initial weights.
        self.attention_norm = shape.make_norm()
        self.attention = Attention(
            shape.dim,
            shape.num_heads,
            num_kv_heads=shape.num_kv_heads,
            head_dim=shape.head_dim,
            bias=shape.bias,
            qkv_bias=shape.qkv_bias,
            qk_norm=shape.qk_norm,
            norm_eps=shape.norm_eps,
            score_scale=shape.score_scale,
        )

        self.memory_norm = shape.make_norm() if reads_memory else None
        self.memory_attention = _memory_attention(shape) if reads_memory else None

        self.feed_forward_norm = shape.make_norm()
        self.feed_forward = FeedForward(
            shape.dim, shape.hidden_dim, form=shape.feed_forward, bias=shape.bias, dropout=shape.dropout
        )

        self.recomputes = False
        """Whether the backward pass recomputes the block instead of storing its activations (arXiv:1604.06174)."""
        self.attention_scale = nn.Parameter(torch.ones(shape.dim)) if shape.layer_scale else None
        self.feed_forward_scale = nn.Parameter(torch.ones(shape.dim)) if shape.layer_scale else None

    def forward(
        self,
        hidden: Float[Tensor, "B S D"],
        mask: Mask,
        *,
        rotation: Rotation | None = None,
        cache: Cache | None = None,
        layer: int = 0,
        memory: tuple[Tensor, Tensor] | None = None,
        memory_mask: Mask | None = None,
    ) -> Float[Tensor, "B S D"]:
        """The output of the block; `memory` contains the keys and values for `memory_attention`."""
        inner = partial(
            self._forward,
            mask=mask,
            rotation=rotation,
            cache=cache,
            layer=layer,
            memory=memory,
            memory_mask=memory_mask,
        )

        if self.recomputes and torch.is_grad_enabled():
            return checkpoint(inner, hidden, use_reentrant=False)  # type: ignore[no-any-return]  # torch leaves it untyped
        return inner(hidden)

    def _forward(
        self,
        hidden: Tensor,
        *,
        mask: Mask,
        rotation: Rotation | None,
        cache: Cache | None,
        layer: int,
        memory: tuple[Tensor, Tensor] | None,
        memory_mask: Mask | None,
    ) -> Tensor:
        attended = self.attention(
            self.attention_norm(hidden), mask, rotation=rotation, cache=cache, layer=layer
        )
        hidden = hidden + _scaled(attended, self.attention_scale)

        if self.memory_attention is not None and self.memory_norm is not None and memory is not None:
            assert memory_mask is not None
            hidden = hidden + self.memory_attention(self.memory_norm(hidden), memory_mask, memory=memory)

        return hidden + _scaled(self.feed_forward(self.feed_forward_norm(hidden)), self.feed_forward_scale)


def _memory_attention(shape: BlockShape) -> Attention:
    """Attention to a memory, in which every query head has its own keys and values."""
    return Attention(
        shape.dim,
        shape.num_heads,
        head_dim=shape.head_dim,
        bias=shape.bias,
        qk_norm=shape.qk_norm,
        norm_eps=shape.norm_eps,
        score_scale=shape.score_scale,
    )


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else x * scale
