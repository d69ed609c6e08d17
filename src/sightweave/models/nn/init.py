"""All initial weights in one place.

=====================================  =============================================================
embeddings                             normal, 1 / sqrt(width), so that tied logits start near size 1
linear and convolution                 normal, 1 / sqrt(inputs)
``attention.out``, ``down``            zero: each block starts as the identity
gates of a fusion                      zero: set by the fusion itself, after this
norms                                  one
biases                                 zero
=====================================  =============================================================
"""

import math

from torch import nn

RESIDUAL = ("out", "down")
"""Names of the layers whose output is added to a residual stream."""


def initialise(module: nn.Module) -> None:
    """Gives every layer below `module` the values of the table above."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            if name.rpartition(".")[2] in RESIDUAL:
                nn.init.zeros_(layer.weight)
            else:
                nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.weight[0].numel()))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.embedding_dim))
