"""Another library's image encoder as one of ours: how its output becomes a grid, and which of its weights have a use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sightweave.core.batch import Features

Encode = Callable[[Any, Tensor], Tensor]
"""A model and pixels ``I 3 Hp Wp`` to what it makes of them: ``I N Dv``, or ``I Dv h w``."""
_MOST_EXTRA_TOKENS = 16
"""Class and register tokens that stand before the patches, at most."""


class Shape:
    """What an encoder makes of one picture: a grid, a width, and tokens before those of the grid.

    Args:
        shape: Of its output for one picture: ``1 N Dv``, or ``1 Dv h w``.
        image_size: Side of the picture, in pixels.
        patch_size: Side of a patch, in pixels; None where there are none.

    Raises:
        ValueError: an output that is no grid.
    """

    def __init__(self, shape: torch.Size, *, image_size: int, patch_size: int | None) -> None:
        if len(shape) == 4:
            self.dim, self.grid, self.extra = shape[1], (1, shape[2], shape[3]), 0
            return
        if len(shape) != 3:
            raise ValueError(f"returns {tuple(shape)} for one image, which is not a grid of features.")
        count, self.dim = shape[1], shape[2]
        side = 0 if patch_size is None else image_size // patch_size
        if not side or not 0 <= count - side**2 <= _MOST_EXTRA_TOKENS:
            side = math.isqrt(count)  # patches were merged on the way
        self.grid, self.extra = (1, side, side), count - side**2
        if not side or self.extra > _MOST_EXTRA_TOKENS:
            raise ValueError(f"returns {count} features for one square image, which is not a square grid.")

    def encode(self, pixels: Float[Tensor, "I 3 Hp Wp"], encode: Callable[[Tensor], Tensor]) -> Features:
        """The features of pictures, and of none: many models cannot reshape what is empty."""
        if pixels.shape[0] == 0:  # by its shape: an export that asks for len() takes it for a constant
            times, rows, columns = self.grid
            return Features(pixels.new_zeros(0, times * rows * columns, self.dim), self.grid)
        return Features(self.features(encode(pixels)), self.grid)

    def features(self, output: Tensor) -> Float[Tensor, "I N Dv"]:
        """The features of the grid, row by row."""
        return output.flatten(2).transpose(1, 2) if output.dim() == 4 else output[:, self.extra :]


def measure(model: nn.Module, encode: Encode, *, image_size: int, patch_size: int | None) -> Shape:
    """The shape of what a model on the meta device makes of a picture: nothing is computed.

    Raises:
        ValueError: it cannot read a picture of that size, or gives no grid.
    """
    with torch.device("meta"):
        pixels = torch.zeros(1, 3, image_size, image_size)
        try:
            output = encode(model.eval(), pixels)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f"cannot encode images of {image_size} x {image_size} pixels: {error}"
            ) from error
    return Shape(output.shape, image_size=image_size, patch_size=patch_size)


def unused(model: nn.Module, encode: Encode, *, image_size: int) -> set[str]:
    """Names of the weights that the features of a model on the meta device do not depend on, such as those of a head."""
    with torch.inference_mode(False), torch.device("meta"), torch.enable_grad():
        output = encode(model, torch.zeros(1, 3, image_size, image_size))
        named = dict(model.named_parameters())
        found = torch.autograd.grad(output.sum(), list(named.values()), allow_unused=True)
    return {name for name, gradient in zip(named, found, strict=True) if gradient is None}


def drop(model: nn.Module, names: set[str]) -> None:
    """Takes weights out of a model: a layer of them alone gives back what it is given."""
    for path, layer in list(model.named_modules()):
        own = {f"{path}.{name}" for name, _ in layer.named_parameters()}
        if path and own and own <= names:  # what stands inside one that is gone is no longer named
            setattr(model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], nn.Identity())
            names = names - own
    for path in names:
        setattr(model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], None)


def keep_statistics(model: nn.Module) -> None:
    """Holds every BatchNorm at its learnt statistics: those of a batch would mix pictures."""
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()
