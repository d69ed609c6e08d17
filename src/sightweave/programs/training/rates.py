"""Learning rate multipliers: a factor per part, a decay from block to block downwards, and the size of the batch.

Layer-wise decay as in BEiT (Bao et al. 2021, arXiv:2106.08254): decay^(L + 1 - l) for block l of L, where l = 0 before
the blocks and L + 1 after them.

The linear rule for the batch size is that of Goyal et al. 2017 (arXiv:1706.02677), section 2.1; the square root follows from
the noise of the gradient and fits Adam (Malladi et al. 2022, arXiv:2205.10287).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from torch import nn

from sightweave.models.parts import PartName
from sightweave.programs.training.durations import per_step
from sightweave.programs.training.settings import Settings, Stage

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


def batch_factor(settings: Settings, stage: Stage) -> float:
    """The multiplier of a stage's learning rates for the size of its batch; 1 without scaling."""
    if settings.scale_lr == "none":
        return 1.0
    assert settings.base_batch_size is not None
    ratio = per_step(stage) / settings.base_batch_size
    return ratio if settings.scale_lr == "linear" else ratio**0.5


def scaled(settings: Settings) -> Settings:
    """The settings with the learning rates of each stage multiplied by its `batch_factor`, and no further scaling."""
    if settings.scale_lr == "none":
        return settings

    stages = []
    for stage in settings.stages:
        factor, chosen = batch_factor(settings, stage), stage.optimizer
        optimizer = dataclasses.replace(chosen, lr=factor * chosen.lr, muon_lr=factor * chosen.muon_lr)
        stages.append(dataclasses.replace(stage, optimizer=optimizer))
    return dataclasses.replace(settings, stages=tuple(stages), scale_lr="none", base_batch_size=None)
