"""A model of which each process holds only a part, as far as it does not matter how it is split.

In one process, such a model is built with its initial weights, and in the others on the meta device. Once it is split, each
process receives its part of every weight.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from sightweave.core.errors import CheckpointError, RecipeError
from sightweave.models.vlm import VLM
from sightweave.programs.training.rows import is_sharded, own, own_rows
from sightweave.programs.training.settings import Settings
from sightweave.programs.training.state import State
from sightweave.programs.training.world import World


class SplitModel(ABC):
    """Base class of the ways to split a model.

    Args:
        model: Split in place by the subclass.
        world: All processes that train together.
        over: The processes that hold all parts of the model together.
        device: The device of this process.
    """

    def __init__(self, model: VLM, world: World, over: World, device: torch.device) -> None:
        self.model, self.world, self.over, self.device = model, world, over, device

    @abstractmethod
    def readable(self) -> contextlib.AbstractContextManager[None]:
        """In this block, the model can be called directly; all processes must call the same parts in the same order."""

    @abstractmethod
    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What this process saves of tensors by name; all processes call it together, and save everything together.

        Args:
            tensors: The state of the model, or of the optimizer with the rows of this process only.
        """

    def share_of(self, state: State) -> State:
        """The share of a state that this process saves; all shares together are the whole state."""
        random = state.random if self.world.is_first else {}
        return replace(
            state, model=self.share(state.model), optimizer=self.share(state.optimizer), random=random
        )

    def clip(self, parameters: Sequence[nn.Parameter], max_norm: float) -> float:
        """Clips the gradient to a maximum norm over all parameters and processes, and returns the norm that it had."""
        gradients = [own(one.grad) for one in parameters if one.grad is not None]
        counted = [
            own(one.grad)
            for one in parameters
            if one.grad is not None and (is_sharded(one.grad) or self.over.is_first)
        ]
        squares = 0.0
        if counted:
            norms = torch.stack(torch._foreach_norm(counted))
            squares = float(norms.double().square().sum())
        norm = math.sqrt(self.over.sum([squares])[0])

        factor = max_norm / (norm + 1e-6)
        if factor < 1:
            torch._foreach_mul_(gradients, factor)
        return norm

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Loads this process's rows of the model's whole state.

        Raises:
            CheckpointError: names or shapes differ from the model's.
        """
        state = self.model.state_dict()
        differing = sorted(state.keys() ^ tensors.keys())
        if differing:
            raise CheckpointError(
                f"training state: its weights do not fit the recipe's model: {', '.join(differing[:10])} in only one of the "
                "two."
            )
        for name, value in state.items():
            whole = tensors[name]
            if whole.shape != value.shape:
                raise CheckpointError(
                    f"training state: its weights do not fit the recipe's model: {name} has shape {tuple(whole.shape)}, but "
                    f"{tuple(value.shape)} in the model."
                )
            own(value).copy_(own_rows(whole, value))

    # Building.

    @torch.no_grad()
    def receive(self, first: Mapping[str, Tensor]) -> None:
        """Gives each process its rows of the first one's weights, one weight at a time.

        Args:
            first: The weights before the model was split, by name; only those of the first process are used.
        """
        self._allocate()
        for name, value in tensors_of(self.model).items():
            mine = own(value)
            whole = torch.empty(value.shape, dtype=value.dtype, device=self.device)
            if self.world.is_first:
                whole.copy_(first[name])
            self.world.copy_from_first([whole])
            mine.copy_(own_rows(whole, value))

    def _allocate(self) -> None:
        """Moves all tensors to the device; those on the meta device get memory there, without values."""
        done: dict[int, nn.Parameter] = {}
        for module in self.model.modules():
            for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
                # A weight that two modules share stays shared.
                if id(parameter) not in done:
                    done[id(parameter)] = self._on_device(parameter)
                module.register_parameter(name, done[id(parameter)])
            for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
                moved = (
                    torch.empty_like(buffer, device=self.device) if buffer.is_meta else buffer.to(self.device)
                )
                setattr(module, name, moved)

    def _on_device(self, parameter: nn.Parameter) -> nn.Parameter:
        if own(parameter).device == self.device:
            return parameter
        found = (
            torch.empty_like(parameter, device=self.device)
            if parameter.is_meta
            else parameter.to(self.device)
        )
        return nn.Parameter(found.detach(), requires_grad=parameter.requires_grad)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """All weights and buffers by name, even those that are not saved."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def check(settings: Settings, why: str, remedy: str) -> None:
    """Checks that a training needs no whole weights, except during a step.

    Args:
        settings: The settings of the training.
        why: Setting that splits the model, such as ``mesh.shard is true``.
        remedy: How to undo it, such as ``set mesh.shard to false``.

    Raises:
        RecipeError: a setting that does not work with a split model.
    """
    if settings.quantize:
        raise RecipeError(
            f"{why}, but train.quantize has {', '.join(settings.quantize)}, and quantized weights cannot be split over "
            f"processes. Remove quantize, or {remedy}."
        )
    if settings.validate_samples:
        raise RecipeError(
            f"{why}, but train.validate_samples is {settings.validate_samples}; answers need whole weights. Set "
            f"validate_samples to 0 (the loss is still validated), or {remedy}."
        )
    for stage in settings.stages:
        if stage.lora:
            raise RecipeError(
                f"{why}, but stage {stage.name!r} trains adapters (lora of {', '.join(stage.lora)}), which cannot be merged "
                f"into weights that are split over processes. Train the parts themselves, or {remedy}."
            )
