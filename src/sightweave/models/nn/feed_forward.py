"""The position-wise feed-forward layer in its common forms."""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Form = Literal["relu", "gelu", "gelu_tanh", "quick_gelu", "relu2", "swiglu", "geglu"]
FORMS = get_args(Form)
_GATED = ("swiglu", "geglu")


def default_hidden_dim(dim: int, form: str) -> int:
    """The hidden width for which all forms have about the same number of parameters: 4 D, or 8/3 D for the gated forms."""
    return -(-8 * dim // 3 // 32) * 32 if form in _GATED else 4 * dim


class FeedForward(nn.Module):
    """A feed-forward layer: ``down(act(up(x)))``, or ``down(act(gate(x)) * up(x))`` for ``swiglu`` and ``geglu``.

    ``relu`` is that of the original Transformer (arXiv:1706.03762); ``relu2`` is Primer's squared ReLU
    (arXiv:2109.08668), which is cheap on a CPU; ``swiglu`` and ``geglu`` (with the GELU of ``gelu_tanh``) are Shazeer's
    (arXiv:2002.05202), used by Llama and by T5 1.1; and ``quick_gelu`` is the GELU of CLIP (arXiv:2103.00020).

    Args:
        dim: Width D of the input and output.
        hidden_dim: Hidden width F.
        form: One of the forms above, ``gelu`` or ``gelu_tanh``.
        bias: Whether the projections have biases.
        dropout: Dropout probability of the hidden values.

    Raises:
        ValueError: `form` is unknown, or `dropout` is not at least 0 and below 1.
    """

    def __init__(
        self, dim: int, hidden_dim: int, *, form: Form = "swiglu", bias: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"feed_forward must be {', '.join(FORMS[:-1])} or {FORMS[-1]} (got {form!r}).")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1 (got {dropout}).")

        self.form = form
        self.gate = nn.Linear(dim, hidden_dim, bias=bias) if form in _GATED else None
        self.up = nn.Linear(dim, hidden_dim, bias=bias)
        self.down = nn.Linear(hidden_dim, dim, bias=bias)
        self.dropout = dropout

    def forward(self, x: Float[Tensor, "*shape D"]) -> Float[Tensor, "*shape D"]:
        """Applies the layer to each position separately."""
        hidden = self.up(x)

        if self.gate is not None and self.form == "swiglu":
            hidden = swiglu(self.gate(x), hidden)
        elif self.gate is not None:
            hidden = F.gelu(self.gate(x), approximate="tanh") * hidden
        elif self.form == "relu":
            hidden = F.relu(hidden)
        elif self.form == "relu2":
            hidden = F.relu(hidden).square()
        elif self.form == "quick_gelu":
            hidden = hidden * torch.sigmoid(1.702 * hidden)
        else:
            hidden = F.gelu(hidden, approximate="tanh" if self.form == "gelu_tanh" else "none")

        if self.dropout and self.training:
            hidden = torch.dropout(hidden, self.dropout, train=True)
        return self.down(hidden)  # type: ignore[no-any-return]  # nn.Module calls are untyped


def swiglu(gate: Float[Tensor, "*shape F"], up: Float[Tensor, "*shape F"]) -> Float[Tensor, "*shape F"]:
    """Exactly ``silu(gate) * up``, with less memory for the backward pass."""
    if not torch.is_grad_enabled():
        return F.silu(gate) * up
    return _SwiGLU.apply(gate, up)  # type: ignore[no-any-return,no-untyped-call]  # torch leaves apply untyped


class _SwiGLU(torch.autograd.Function):
    """SwiGLU without storing ``silu(gate)``, which autograd would keep for every token of every block."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        of_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return of_gate, F.silu(gate).mul_(gradient)
