"""Learning rate multipliers of parameters: a factor per part, and a decay from block to block downwards.

Layer-wise decay as in BEiT (Bao et al. 2021, arXiv:2106.08254): decay^(L + 1 - l) for block l of L, where l = 0 before
the blocks and L + 1 after them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from sightweave.models.parts import PartName

_BLOCK = re.compile(r"(?:encoder_)?blocks\.(\d+)\.")
_AFTER = ("norm.", "output.", "classifier.", "encoder_norm.")
"""Prefixes of the parameters that come after the blocks of a part."""


def rate_factors(
    model: nn.Module, parts: Mapping[PartName, nn.Module], factors: Mapping[PartName, float], decay: float
) -> dict[str, float]:
    """The learning rate multiplier of each parameter, by its name in the model.

    Args:
        model: The whole model.
        parts: Its parts by name. A part may be inside an earlier one; its own factor, if it has one, takes precedence.
        factors: Multipliers by part; 1 for all others.
        decay: Multiplier from each block to the one below it, in parts with blocks; 1 for none.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    found: dict[str, float] = {}
    for part, module in parts.items():
        count = len(getattr(module, "blocks", ()))
        for name, parameter in module.named_parameters():
            depth = count + 1 - _layer(name, count) if count else 0
            if names[parameter] not in found or part in factors:
                found[names[parameter]] = factors.get(part, 1.0) * decay**depth
    return found


def _layer(name: str, count: int) -> int:
    """Number of the block of a parameter, from 1; 0 before the blocks, `count` + 1 after them."""
    match = _BLOCK.match(name)
    if match is not None:
        return int(match[1]) + 1
    return count + 1 if name.startswith(_AFTER) else 0
