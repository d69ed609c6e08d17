"""Gradient norms and update ratios by part, for the rows of the log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sightweave.models.parts import PartName, named_parts
from sightweave.models.vlm import VLM
from sightweave.programs.training.rows import is_sharded, own
from sightweave.programs.training.world import World

GRADIENT, RATIO = "grad_norm_", "update_ratio_"
"""Names in the log, followed by the part."""
_SAMPLED = 1 << 14
"""At most about this many values of each parameter are compared before and after an update."""


class PartNorms:
    """Measures one update now and then.

    ``grad_norm_PART`` is the norm of the part's gradient before clipping. ``update_ratio_PART`` is the norm of the change
    of its weights by the update, divided by the norm of the weights; large parameters are sampled at even distances. The
    ratio is often near 1e-3; a part whose ratio is far smaller hardly learns.

    Args:
        model: The model; its token embedding counts as part of the language model.
        parameters: The trained parameters by name.
        over: The processes that hold the parts of a split model; the norms are those of the whole one.
    """

    def __init__(self, model: VLM, parameters: Mapping[str, Tensor], over: World | None = None) -> None:
        self.world = over or World()
        part_of: dict[int, PartName] = {}
        for part, module in named_parts(model).items():
            for parameter in module.parameters():
                part_of.setdefault(id(parameter), part)

        self.parts: dict[PartName, list[Tensor]] = {}
        for tensor in parameters.values():
            owner = part_of.get(id(tensor))
            if owner is None:
                continue
            # All processes have all parts in the same order, since they add up the norms of each.
            counted = self.parts.setdefault(owner, [])
            if self.world.is_first or is_sharded(tensor):  # others have the same values in every process
                counted.append(tensor)

        self._before: dict[PartName, list[Tensor]] = {}
        self._found: dict[str, float] = {}

    @torch.no_grad()
    def before(self) -> None:
        """Measures the gradients, and remembers the weights; called before the gradients are clipped."""
        for part, parameters in self.parts.items():
            gradients = [one.grad for one in parameters if one.grad is not None]
            self._found[GRADIENT + part] = self._norm(map(own, gradients))
            self._before[part] = [_some(one).clone() for one in parameters]

    @torch.no_grad()
    def after(self) -> None:
        """Measures how far the update moved the weights since `before`."""
        for part, before in self._before.items():
            changes = [_some(one) - old for one, old in zip(self.parts[part], before, strict=True)]
            size, change = self._norm(before), self._norm(changes)
            self._found[RATIO + part] = change / size if size else 0.0
        self._before = {}

    def take(self) -> dict[str, float]:
        """The numbers of the update measured last, by their names in the log; empty after they were taken."""
        found, self._found = self._found, {}
        return found

    def _norm(self, tensors: Iterable[Tensor]) -> float:
        """The norm of all values together, over all processes."""
        norm = _local_norm(tensors)
        return norm if self.world.size == 1 else math.sqrt(self.world.sum([norm * norm])[0])


def _some(parameter: Tensor) -> Tensor:
    """Evenly spaced values of a parameter, as a view where that is possible."""
    flat = own(parameter.detach()).reshape(-1)
    return flat[:: max(1, len(flat) // _SAMPLED)]


def _local_norm(tensors: Iterable[Tensor]) -> float:
    """The norm of all values together."""
    precise = [one.float() for one in tensors]
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(precise)))) if precise else 0.0
