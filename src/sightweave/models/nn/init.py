"""Initial values of all weights.

=====================================  =============================================================
embeddings                             normal, 1 / sqrt(width), so that tied logits start near size 1
linear and convolution                 normal, 1 / sqrt(inputs)
``attention.out``, ``down``            zero: each block starts as the identity
gates of a fusion                      set by the fusion itself
norms                                  one
biases                                 zero
=====================================  =============================================================
"""

import math

import torch
from torch import Tensor, nn

RESIDUAL = ("out", "down")
"""Names of the layers whose output is added to a residual stream."""


def initialise(module: nn.Module) -> None:
    """Initialises every layer in `module` as listed in the table above."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            if name.rpartition(".")[2] in RESIDUAL:
                nn.init.zeros_(layer.weight)
            else:
                draw(layer.weight, std=1 / math.sqrt(layer.weight[0].numel()))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Embedding):
            draw(layer.weight, std=1 / math.sqrt(layer.embedding_dim))


def draw(weight: Tensor, *, std: float) -> None:
    """Fills a weight from a normal distribution; does nothing on the meta device.

    On the meta device, torch's own function would first import a computer algebra system, which takes as long as
    importing torch itself.
    """
    if not weight.is_meta:
        nn.init.normal_(weight, std=std)


def embedding(count: int, dim: int) -> nn.Embedding:
    """A table of `count` vectors; no values are drawn on the meta device (see `draw`)."""
    table = torch.empty(count, dim)
    if not table.is_meta:
        return nn.Embedding(count, dim)
    return nn.Embedding.from_pretrained(table, freeze=False)  # type: ignore[no-any-return,no-untyped-call]  # torch leaves it untyped
