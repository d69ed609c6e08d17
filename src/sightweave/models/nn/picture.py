"""Adapts image encoders of other libraries: converts their output to a grid of features, and finds unused weights."""

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
"""Function from a model and pixels ``I 3 Hp Wp`` to the model's output, ``I N Dv`` or ``I Dv h w``."""
_MOST_EXTRA_TOKENS = 16
"""Largest accepted number of extra tokens (class and register tokens) before the patches."""


class Shape:
    """The shape of an encoder's output for one image: its grid, its width, and the number of extra tokens before the grid.

    Args:
        shape: Shape of the output for one image: ``1 N Dv`` or ``1 Dv h w``.
        image_size: Side of the image, in pixels.
        patch_size: Side of a patch, in pixels; None if the encoder has no patches.

    Raises:
        ValueError: the output is not a grid.
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
            side = math.isqrt(count)  # the model merges patches

        self.grid, self.extra = (1, side, side), count - side**2
        if not side or self.extra > _MOST_EXTRA_TOKENS:
            raise ValueError(f"returns {count} features for one square image, which is not a square grid.")

    def encode(self, pixels: Float[Tensor, "I 3 Hp Wp"], encode: Callable[[Tensor], Tensor]) -> Features:
        """Encodes images; an empty batch is handled here, because many models cannot reshape one."""
        if pixels.shape[0] == 0:  # not len(), which an export would treat as a constant
            times, rows, columns = self.grid
            return Features(pixels.new_zeros(0, times * rows * columns, self.dim), self.grid)

        return Features(self.features(encode(pixels)), self.grid)

    def features(self, output: Tensor) -> Float[Tensor, "I N Dv"]:
        """The features of the grid, row by row, without the extra tokens."""
        return output.flatten(2).transpose(1, 2) if output.dim() == 4 else output[:, self.extra :]


def measure(model: nn.Module, encode: Encode, *, image_size: int, patch_size: int | None) -> Shape:
    """Determines the output shape of a model on the meta device for one image, without computing anything.

    Raises:
        ValueError: the model cannot encode an image of this size, or its output is not a grid.
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
    """Names of the weights that have no influence on the features, such as the weights of a head.

    The model must be on the meta device.
    """
    with torch.inference_mode(False), torch.device("meta"), torch.enable_grad():
        output = encode(model, torch.zeros(1, 3, image_size, image_size))
        named = dict(model.named_parameters())
        gradients = torch.autograd.grad(output.sum(), list(named.values()), allow_unused=True)

    return {name for name, gradient in zip(named, gradients, strict=True) if gradient is None}


def drop(model: nn.Module, names: set[str]) -> None:
    """Removes weights from a model; a layer that has no other weights is replaced by the identity."""
    for path, layer in list(model.named_modules()):
        own = {f"{path}.{name}" for name, _ in layer.named_parameters()}
        if path and own and own <= names:
            parent, _, child = path.rpartition(".")
            setattr(model.get_submodule(parent), child, nn.Identity())
            names = names - own  # so that the layers inside it are not changed

    for path in names:
        parent, _, child = path.rpartition(".")
        setattr(model.get_submodule(parent), child, None)


def keep_statistics(model: nn.Module) -> None:
    """Freezes the statistics of every BatchNorm layer, because batch statistics would mix images."""
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()
