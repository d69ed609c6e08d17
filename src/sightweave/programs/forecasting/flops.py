"""Counts the floating-point operations of an operator; a multiplication with an addition counts as two operations.

The formulas are those of ``torch.utils.flop_counter`` for matrix products, convolutions and attention, and two more for
the attention kernel that the simulation uses. Masks are not taken into account: causal attention counts in full, as in
torch. Elementwise operators count as 0 operations; their time is the time for reading and writing memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

_BACKWARD_PRODUCTS = 2.5
"""Number of matrix products in the backward pass of attention, per product in its forward pass: five for two, because
the scores are recomputed (FlashAttention, arXiv:2205.14135)."""


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating-point operations of one forward and one backward pass."""

    forward: int = 0
    backward: int = 0

    @property
    def total(self) -> int:
        """Number of operations of both passes."""
        return self.forward + self.backward

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.forward + other.forward, self.backward + other.backward)


def of_operator(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Number of operations of one call of an ATen operator; 0 if the operator multiplies no matrices.

    Args:
        func: The operator, such as ``torch.ops.aten.mm.default``.
        args: Positional arguments; only the shapes of tensors are read.
        kwargs: Keyword arguments.
        out: Result of the call.
    """
    packet = func.overloadpacket
    if packet in _OWN:
        return _OWN[packet](*args)
    if packet not in flop_registry:
        return 0
    return int(flop_registry[packet](*args, **kwargs, out_val=out))


def of_attention(queries: Tensor, keys: Tensor, values: Tensor, *_: Any) -> int:
    """Number of operations of attention: ``queries @ keys`` and ``scores @ values``, for every query head."""
    rows, heads, length, width = queries.shape
    products = length * keys.shape[2] * (width + values.shape[3])
    return 2 * rows * heads * products


def _of_attention_backward(_: Tensor, queries: Tensor, keys: Tensor, values: Tensor, *__: Any) -> int:
    return int(_BACKWARD_PRODUCTS * of_attention(queries, keys, values))


_OWN: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: of_attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _of_attention_backward,
}
