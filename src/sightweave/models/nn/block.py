"""The Transformer block: attention, perhaps attention to a memory, feed-forward, each on a normalised residual."""

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


class Block(nn.Module):
    """``h = h + attend(norm(h))``; ``h = h + attend(norm(h), memory)`` where asked; ``h = h + ff(norm(h))``.

    Args:
        dim: Width D.
        num_heads: Query heads H.
        num_kv_heads: Key-value heads; None means H.
        head_dim: Width of one head; None means D / H.
        hidden_dim: Width F inside the feed-forward layer.
        feed_forward: Its form.
        norm: ``rms`` or ``layer``.
        norm_eps: Added under the root of the norms.
        qk_norm: Normalise queries and keys.
        bias: Whether projections have biases.
        qkv_bias: Whether those of queries, keys and values have; None means as `bias` says.
        score_scale: What attention scores are multiplied with; None means 1 / sqrt(Dh).
        layer_scale: Whether a learnt factor for each channel, 1 at first, stands before each sum (CaiT, arXiv:2103.17239).
        dropout: Share of feed-forward values dropped in training.
        reads_memory: Whether the block has attention to a memory of the same width.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        hidden_dim: int,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        feed_forward: Form = "swiglu",
        norm: str = "rms",
        norm_eps: float = 1e-6,
        qk_norm: bool = False,
        bias: bool = False,
        qkv_bias: bool | None = None,
        score_scale: float | None = None,
        layer_scale: bool = False,
        dropout: float = 0.0,
        reads_memory: bool = False,
    ) -> None:
        super().__init__()
        self.attention_norm = make_norm(norm, dim, eps=norm_eps)
        self.attention = Attention(
            dim,
            num_heads,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
            bias=bias,
            qkv_bias=qkv_bias,
            qk_norm=qk_norm,
            norm_eps=norm_eps,
            score_scale=score_scale,
        )
        self.memory_norm = make_norm(norm, dim, eps=norm_eps) if reads_memory else None
        self.memory_attention = (
            Attention(
                dim,
                num_heads,
                head_dim=head_dim,
                bias=bias,
                qk_norm=qk_norm,
                norm_eps=norm_eps,
                score_scale=score_scale,
            )
            if reads_memory
            else None
        )
        self.feed_forward_norm = make_norm(norm, dim, eps=norm_eps)
        self.feed_forward = FeedForward(dim, hidden_dim, form=feed_forward, bias=bias, dropout=dropout)
        self.recomputes = False
        """Whether the backward pass computes the block again instead of keeping what is inside it (arXiv:1604.06174)."""
        self.attention_scale = nn.Parameter(torch.ones(dim)) if layer_scale else None
        self.feed_forward_scale = nn.Parameter(torch.ones(dim)) if layer_scale else None

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
        """One block; `memory` holds the keys and values that `memory_attention` reads."""
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


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else x * scale
