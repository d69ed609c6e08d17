"""Multi-head attention: grouped-query, with optional rotary positions and QK-norm, to the sequence itself or to a memory.

Attention Is All You Need (arXiv:1706.03762); GQA (Ainslie et al. 2023, arXiv:2305.13245); QK-norm (Henry et al. 2020,
arXiv:2010.04245).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sightweave.core.cache import Cache
from sightweave.models.nn.mask import Mask
from sightweave.models.nn.norm import RMSNorm
from sightweave.models.nn.position import Rotation, rotate

Record = Callable[[Tensor], None]
"""A function that is called with the attention weights of each call, float B H S K."""


class Attention(nn.Module):
    """Softmax attention with H query heads and Hkv key-value heads. Tensors inside have the order B H S Dh.

    Args:
        dim: Width D of the input and output.
        num_heads: Number of query heads H.
        num_kv_heads: Number of key-value heads Hkv; must divide H. None means H.
        head_dim: Width Dh of a head; None means D / H.
        memory_dim: Width of the input of keys and values; None means D.
        bias: Whether the projections have biases.
        qkv_bias: Whether the query, key and value projections have biases; None means the same as `bias`.
        qk_norm: Whether to normalise queries and keys per head, which bounds the scores.
        norm_eps: Added under the square root of these norms.
        score_scale: Factor of the scores; None means 1 / sqrt(Dh).

    Raises:
        ValueError: the number of heads does not divide the width, or the number of key-value heads does not divide the
            number of heads.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        memory_dim: int | None = None,
        bias: bool = False,
        qkv_bias: bool | None = None,
        qk_norm: bool = False,
        norm_eps: float = 1e-6,
        score_scale: float | None = None,
    ) -> None:
        super().__init__()
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if min(num_heads, num_kv_heads) < 1:
            raise ValueError(
                f"the number of heads must be 1 or more (got num_heads {num_heads}, num_kv_heads {num_kv_heads})."
            )
        if head_dim is None and dim % num_heads:
            raise ValueError(
                f"num_heads {num_heads} does not divide the width {dim}; choose a divisor or set head_dim."
            )
        if num_heads % num_kv_heads:
            raise ValueError(f"num_kv_heads {num_kv_heads} does not divide num_heads {num_heads}.")

        self.head_dim = head_dim or dim // num_heads
        self.num_heads, self.num_kv_heads, self.score_scale = num_heads, num_kv_heads, score_scale

        qkv_bias = bias if qkv_bias is None else qkv_bias
        self.q = nn.Linear(dim, num_heads * self.head_dim, bias=qkv_bias)
        self.k = nn.Linear(memory_dim or dim, num_kv_heads * self.head_dim, bias=qkv_bias)
        self.v = nn.Linear(memory_dim or dim, num_kv_heads * self.head_dim, bias=qkv_bias)
        self.out = nn.Linear(num_heads * self.head_dim, dim, bias=bias)
        self.q_norm = RMSNorm(self.head_dim, eps=norm_eps) if qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, eps=norm_eps) if qk_norm else None
        self.record: Record | None = None
        """Set on a copy of a model to see the attention weights, which the fused kernels never store; they are part of the
        graph, so gradients can be taken with respect to them."""

    def keys_values(
        self, memory: Float[Tensor, "B M Dm"], rotation: Rotation | None = None
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of a memory: each B Hkv M Dh."""
        keys, values = _split(self.k(memory), self.head_dim), _split(self.v(memory), self.head_dim)
        keys = keys if self.k_norm is None else self.k_norm(keys)
        keys = keys if rotation is None else rotate(keys, rotation)
        return keys, values

    def forward(
        self,
        hidden: Float[Tensor, "B S D"],
        mask: Mask,
        *,
        rotation: Rotation | None = None,
        cache: Cache | None = None,
        layer: int = 0,
        memory: tuple[Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "B S D"]:
        """Attends to the sequence itself (and the cached keys and values of `layer`), or to the memory if it is given."""
        queries = _split(self.q(hidden), self.head_dim)
        queries = queries if self.q_norm is None else self.q_norm(queries)
        queries = queries if rotation is None else rotate(queries, rotation)

        keys, values = self.keys_values(hidden, rotation) if memory is None else memory
        if memory is None and cache is not None:
            keys, values = cache.extend(layer, keys, values)

        if self.record is None:
            attended = attend(queries, keys, values, mask, scale=self.score_scale)
        else:
            weights = attention_weights(queries, keys, mask, scale=self.score_scale)
            self.record(weights)
            attended = weights @ _for_each_query_head(values, self.num_heads)
        return self.out(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]  # nn.Module calls are untyped


def _split(x: Tensor, head_dim: int) -> Tensor:
    # By their width, since tensor parallelism gives each process only some of the heads.
    return torch.unflatten(x, -1, (-1, head_dim)).transpose(1, 2)  # B H S Dh


def attend(
    queries: Float[Tensor, "B H S Dh"],
    keys: Float[Tensor, "B Hkv K Dh"],
    values: Float[Tensor, "B Hkv K Dh"],
    mask: Mask,
    *,
    scale: float | None = None,
) -> Float[Tensor, "B H S Dh"]:
    """Scaled dot-product attention with torch's fused kernels; a `scale` of None is 1 / sqrt(Dh)."""
    groups = queries.shape[1] // keys.shape[1]

    # With a single new token, the query heads of a group act as positions, so that keys and values need not be
    # expanded.
    if queries.shape[2] == 1 and mask.shows_all and groups > 1:
        folded = torch.unflatten(queries, 1, (keys.shape[1], groups)).squeeze(3)  # B Hkv G Dh
        return F.scaled_dot_product_attention(folded, keys, values, scale=scale).flatten(1, 2).unsqueeze(2)

    attended = F.scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask.bias(queries.dtype),
        is_causal=mask.causal and queries.shape[2] > 1,
        scale=scale,
        enable_gqa=groups > 1,
    )
    return attended if mask.blind_rows is None else attended.masked_fill(mask.blind_rows, 0.0)


def attention_weights(
    queries: Float[Tensor, "B H S Dh"],
    keys: Float[Tensor, "B Hkv K Dh"],
    mask: Mask,
    *,
    scale: float | None = None,
) -> Float[Tensor, "B H S K"]:
    """The weights by which `attend` averages the values; those of a token that may not attend to anything are zero.

    The arguments are as for `attend`.
    """
    scale = queries.shape[-1] ** -0.5 if scale is None else scale
    scores = queries @ _for_each_query_head(keys, queries.shape[1]).transpose(-2, -1) * scale

    bias = mask.bias(queries.dtype)
    if bias is not None:
        scores = scores + bias
    elif mask.causal and queries.shape[2] > 1:
        is_later = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(is_later, -torch.inf)

    weights = scores.softmax(-1)
    return weights if mask.blind_rows is None else weights.masked_fill(mask.blind_rows, 0.0)


def _for_each_query_head(x: Float[Tensor, "B Hkv K Dh"], num_heads: int) -> Float[Tensor, "B H K Dh"]:
    return x.repeat_interleave(num_heads // x.shape[1], 1)
