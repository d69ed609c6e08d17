"""Root-mean-square normalisation (Zhang and Sennrich 2019, arXiv:1910.07467)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    """Root-mean-square norm ``x / sqrt(mean(x^2) + eps) * weight``.

    Args:
        dim: Width of the last axis.
        eps: Added to the mean square.
        affine: Whether there is a weight.
    """

    def __init__(self, dim: int, *, eps: float = 1e-6, affine: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim)) if affine else None

    def forward(self, x: Float[Tensor, "*shape D"]) -> Float[Tensor, "*shape D"]:
        """Normalises the last axis."""
        if x.device.type == "cpu" and self.weight is not None and x.dtype == torch.float32:
            if (
                not torch.is_grad_enabled()
            ):  # calling the autograd function takes longer than one token's norm
                return (x * cpu_scale(x, self.eps)).mul_(self.weight)
            return OneScaleNorm.apply(x, self.weight, self.eps)  # type: ignore[no-any-return,no-untyped-call]  # torch leaves apply untyped

        weight = None if self.weight is None else self.weight.to(x.dtype)
        return F.rms_norm(x, x.shape[-1:], weight, self.eps)


def cpu_scale(x: Tensor, eps: float) -> Tensor:
    """``1 / sqrt(mean(x^2) + eps)`` over the last axis, which is kept with length 1."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()


class OneScaleNorm(torch.autograd.Function):
    """RMS norm that saves one scale per token; torch's own version saves several full-size intermediates on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """``x / sqrt(mean(x^2) + eps) * weight``."""
        scale = cpu_scale(x, eps)
        normal = x * scale
        ctx.save_for_backward(normal, weight, scale)
        return normal * weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of the input and the weight."""
        normal, weight, scale = ctx.saved_tensors
        product = grads[0] * normal
        grad_weight = product.reshape(-1, weight.shape[0]).sum(0)

        # The mean over the width of (gradient * weight) * normal, as one product of a matrix and a vector.
        along = (product @ weight).div_(weight.shape[0]).unsqueeze(-1)
        return torch.addcmul(grads[0] * weight, normal, along, value=-1).mul_(scale), grad_weight, None


def make_norm(kind: str, dim: int, *, eps: float = 1e-6) -> nn.Module:
    """A norm of the given kind, ``rms`` or ``layer``, over the width `dim`.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind == "rms":
        return RMSNorm(dim, eps=eps)
    if kind == "layer":
        return nn.LayerNorm(dim, eps=eps)
    raise ValueError(f"norm must be 'rms' or 'layer' (got {kind!r}).")
