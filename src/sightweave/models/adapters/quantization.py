"""Frozen linear layers in 8 or 4 bits, so that a part that is not trained takes a quarter or a seventh of its memory.

int8: each row is divided by its largest value (LLM.int8(), Dettmers et al. 2022, arXiv:2208.07339, section 2, for the
weights only). nf4: sixteen quantiles of a normal distribution, blocks of 64 weights (QLoRA, Dettmers et al. 2023,
arXiv:2305.14314, section 3). Bitsandbytes quantizes and dequantizes the weights. The products with the dequantized
weights are computed in full precision, so that a plain layer with these weights gives bitwise equal results. This is
the only file that imports bitsandbytes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sightweave.core.errors import BackendError, RecipeError

Form = Literal["int8", "nf4"]
HEAD = "output"
"""Name of a language model's head, which is not quantized because rounding its weights would affect every logit."""
_BLOCK = 64
"""Number of weights in a block with a common scale (nf4)."""
_ROW_MOST = 127
"""Largest code in a row (int8)."""


def quantize(part: nn.Module, form: Form, *, where: str) -> None:
    """Quantizes every linear layer of a part except the head.

    Args:
        part: The part, changed in place; afterwards it can no longer be trained.
        form: ``int8`` or ``nf4``.
        where: Name of the part, for error messages.

    Raises:
        BackendError: bitsandbytes is not installed.
        RecipeError: the part has no linear layer.
    """
    _bitsandbytes()

    layers = {}
    for name, layer in part.named_modules():
        if isinstance(layer, nn.Linear) and name and name.rpartition(".")[2] != HEAD:
            layers[name] = layer
    if not layers:
        raise RecipeError(f"train.quantize.{where}: has no linear layer to quantize.")

    for name, layer in layers.items():
        _replace(part, name, QuantizedLinear(layer, form))


def restore(model: nn.Module) -> None:
    """Replaces quantized layers with plain ones that have the dequantized weights."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, QuantizedLinear):
            _replace(model, name, layer.plain())


def is_quantized(model: nn.Module) -> bool:
    """Whether any layer is quantized."""
    return any(isinstance(layer, QuantizedLinear) for layer in model.modules())


class QuantizedLinear(nn.Linear):
    """A frozen linear layer with a quantized weight; `weight` dequantizes it on each access.

    Args:
        layer: The layer to quantize.
        form: ``int8`` or ``nf4``.
    """

    codes: Tensor
    """The quantized weight: int8 O I, or uint8 O*I/2 for nf4."""
    scales: Tensor
    """Scale of each row (float O) for int8, or of each block (float O*I/64) for nf4."""

    def __init__(self, layer: nn.Linear, form: Form) -> None:
        nn.Module.__init__(self)  # the constructor of nn.Linear would allocate a weight
        self.in_features, self.out_features, self.form = layer.in_features, layer.out_features, form
        self.dtype = layer.weight.dtype
        self.bias = layer.bias

        functional, weight = _bitsandbytes().functional, layer.weight.detach()
        if form == "int8":
            codes, scales, _ = functional.int8_vectorwise_quant(weight.half())
        else:
            codes, state = functional.quantize_4bit(weight, blocksize=_BLOCK, quant_type=form)
            scales = state.absmax

        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]  # dequantized on access
        """The dequantized weight: float O I."""
        if self.form == "int8":
            return (self.codes * (self.scales[:, None] / _ROW_MOST)).to(self.dtype)

        functional, shape = _bitsandbytes().functional, torch.Size((self.out_features, self.in_features))
        state = functional.QuantState(
            self.scales, shape=shape, blocksize=_BLOCK, quant_type=self.form, dtype=self.dtype
        )
        found: Tensor = functional.dequantize_4bit(self.codes, state)
        return found

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:  # noqa: D102  # torch's own
        return _Product.apply(x, self)  # type: ignore[no-any-return,no-untyped-call]  # torch leaves apply untyped

    def plain(self) -> nn.Linear:
        """A plain layer with the dequantized weight."""
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        layer.weight = nn.Parameter(self.weight, requires_grad=False)
        if self.bias is not None:
            layer.bias = self.bias

        return layer.train(self.training)


class _Product(torch.autograd.Function):
    """A matrix product that dequantizes the weight again in the backward pass instead of storing it."""

    @staticmethod
    def forward(context: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:
        context.layer, context.dtype = layer, x.dtype
        return nn.functional.linear(x, layer.weight, layer.bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weight = context.layer.weight.to(gradient.dtype)
        return (gradient @ weight).to(context.dtype), None


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Replaces the layer with this name in a model."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silences a warning that bitsandbytes logs on its first import about a missing kernel, which is not used here."""
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _bitsandbytes() -> Any:
    """Imports bitsandbytes.

    Raises:
        BackendError: bitsandbytes is not installed.
    """
    try:
        with without_warnings():
            import bitsandbytes
    except ImportError:
        raise BackendError(
            "train.quantize: bitsandbytes is not installed: pip install 'sightweave[quantize]'."
        ) from None

    return bitsandbytes
