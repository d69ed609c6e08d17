"""Frozen linear layers in 8 or 4 bits: a part that stays as it is takes a quarter or a seventh of its memory.

int8: each row is divided by its largest value (LLM.int8(), Dettmers et al. 2022, arXiv:2208.07339, section 2, of the weights
alone). nf4: sixteen quantiles of a normal distribution, blocks of 64 weights (QLoRA, Dettmers et al. 2023, arXiv:2305.14314,
section 3). The numbers are made and read by bitsandbytes; products are those of the numbers read, in full precision, so that
a layer with these numbers as its weights computes the same bits. The only file that imports bitsandbytes.
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
"""The name of a language model's head, whose rounding would fall on every logit."""
_BLOCK = 64
_ROW_MOST = 127


def quantize(part: nn.Module, form: Form, *, where: str) -> None:
    """Puts every linear layer of a part but the head into few bits.

    Args:
        part: Changed in place; it must not train any more.
        form: ``int8`` or ``nf4``.
        where: The part's name, for messages.

    Raises:
        BackendError: bitsandbytes is not installed.
        RecipeError: the part has no linear layer.
    """
    _bitsandbytes()
    layers = {
        name: layer
        for name, layer in part.named_modules()
        if isinstance(layer, nn.Linear) and name and name.rpartition(".")[2] != HEAD
    }
    if not layers:
        raise RecipeError(f"train.quantize.{where}: has no linear layer to quantize.")
    for name, layer in layers.items():
        _put(part, name, QuantizedLinear(layer, form))


def restore(model: nn.Module) -> None:
    """Puts ordinary layers, with the numbers that the few bits stand for, in the places of the others."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, QuantizedLinear):
            _put(model, name, layer.plain())


def is_quantized(model: nn.Module) -> bool:
    """Whether any layer is in few bits."""
    return any(isinstance(layer, QuantizedLinear) for layer in model.modules())


class QuantizedLinear(nn.Linear):
    """A linear layer that never trains, with its weight in few bits; `weight` reads it anew each time.

    Args:
        layer: With the weight to keep.
        form: ``int8`` or ``nf4``.
    """

    codes: Tensor
    """int8 O I, or uint8 O*I/2."""
    scales: Tensor
    """float O, or float O*I/64."""

    def __init__(self, layer: nn.Linear, form: Form) -> None:
        nn.Module.__init__(self)  # a linear layer's own constructor would make a weight
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
    def weight(self) -> Tensor:  # type: ignore[override]  # read from the few bits
        """The numbers that the few bits stand for: float O I."""
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
        """An ordinary layer with the same numbers."""
        found = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        found.weight = nn.Parameter(self.weight, requires_grad=False)
        if self.bias is not None:
            found.bias = self.bias
        return found.train(self.training)


class _Product(torch.autograd.Function):
    """A product that keeps no weight for its backward pass, but reads it again."""

    @staticmethod
    def forward(context: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:
        context.layer, context.dtype = layer, x.dtype
        return nn.functional.linear(x, layer.weight, layer.bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weight = context.layer.weight.to(gradient.dtype)
        return (gradient @ weight).to(context.dtype), None


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silences what bitsandbytes says when it is first imported: that a kernel is missing, which nothing here calls."""
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _bitsandbytes() -> Any:
    try:
        with without_warnings():
            import bitsandbytes
    except ImportError:
        raise BackendError(
            "train.quantize: bitsandbytes is not installed: pip install 'sightweave[quantize]'."
        ) from None
    return bitsandbytes
