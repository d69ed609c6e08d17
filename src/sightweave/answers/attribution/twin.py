"""A twin of a model: other modules with the same weights, to which hooks can be added while others use the model."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from sightweave.models.nn.block import Block
from sightweave.models.vlm import VLM


def twin(model: VLM) -> VLM:
    """A copy of the modules in evaluation mode, without a copy of the weights; gradients do not reach the weights.

    Explaining an answer records attention weights and replaces embeddings by hooks. On a twin, neither can disturb other
    threads that generate with the model, and the model's mode and gradients stay as they are.
    """
    memo: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for weight in model.parameters():
        # Quantized weights are parameters of other types, with more than their values, and have no gradients anyway.
        is_plain = type(weight) is nn.Parameter
        memo[id(weight)] = nn.Parameter(weight.detach(), requires_grad=False) if is_plain else weight

    copied = copy.deepcopy(model, memo).eval()
    for module in copied.modules():
        if isinstance(module, Block):
            module.recomputes = False
    return copied
