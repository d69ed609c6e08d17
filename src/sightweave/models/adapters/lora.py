"""Low-rank adapters by PEFT: a part's own weights stay, and small factors beside its linear layers train.

LoRA: Low-Rank Adaptation of Large Language Models (Hu et al. 2021, arXiv:2106.09685); DoRA (Liu et al. 2024,
arXiv:2402.09353). The only file that imports PEFT, and only where a stage asks for adapters.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from sightweave.core import box_operators
from sightweave.core.config import config
from sightweave.core.errors import BackendError, RecipeError, did_you_mean
from sightweave.models.adapters import quantization

_NAME = "sightweave"
"""Of the adapter inside PEFT's layers; it stands in the names of kept weights."""


@config
class Lora:
    """LoRA adapters for the linear layers of one part."""

    rank: PositiveInt = 16
    """Rank of the adapters."""
    alpha: PositiveFloat = 32.0
    """Scale of the adapters; their output is multiplied by alpha / rank."""
    dropout: Annotated[NonNegativeFloat, Field(lt=1)] = 0.0
    """Dropout probability of an adapter's inputs."""
    target_modules: tuple[str, ...] = ()
    """Layers to adapt, such as q and v; empty means every linear layer of the part except the head."""
    use_dora: bool = False
    """Whether to learn the magnitude of each weight row separately (DoRA)."""
    keep: bool = False
    """Whether to keep the adapters separate after the last stage instead of merging them; loading the run then needs
    PEFT."""


def add(part: nn.Module, settings: Lora, *, where: str) -> None:
    """Puts adapters beside the layers of a part; they change nothing yet, and of the part they alone require gradients.

    Args:
        part: Changed in place.
        settings: How many and where.
        where: The part's name, for messages.

    Raises:
        BackendError: PEFT is not installed.
        RecipeError: a target that no linear layer of the part is named as, or DoRA beside a layer with a row of zeros.
    """
    peft = _peft()
    layers = {name: one for name, one in part.named_modules() if isinstance(one, nn.Linear)}
    linear = {name.rpartition(".")[2] for name in layers}
    for target in settings.target_modules:
        if target not in linear:
            raise RecipeError(f"{where}: lora.target_modules has {target!r}. {did_you_mean(target, linear)}")
    targets = list(settings.target_modules or sorted(linear - {"output"}))
    if not targets:
        raise RecipeError(f"{where}: has no linear layer to adapt.")
    if settings.use_dora:
        _check_lengths(
            {name: one for name, one in layers.items() if name.rpartition(".")[2] in targets}, where
        )
    part.requires_grad_(False)
    adapters = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        use_dora=settings.use_dora,
    )
    with quantization.without_warnings():
        peft.inject_adapter_in_model(adapters, part, adapter_name=_NAME)


def _check_lengths(layers: Mapping[str, nn.Linear], where: str) -> None:
    """Layers that end a branch begin with zeros where a part begins from nothing; DoRA would divide by their length."""
    for name, layer in layers.items():
        if not layer.weight.is_meta and not layer.weight.any(dim=1).all():
            raise RecipeError(
                f"{where}: {name} has a row of zeros, and DoRA divides by each row's norm: start from a trained part, set "
                "use_dora: false, or choose other layers in target_modules."
            )


def merge(model: nn.Module) -> None:
    """Adds every adapter to the layer beside it, which takes its place back; without adapters, nothing happens.

    What the two compute together is the same to rounding.
    """
    for name, layer in list(model.named_modules()):
        if not _is_adapted(layer):
            continue
        layer.merge(safe_merge=True)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.get_base_layer())

    # PEFT notes on each part what it put there, and warns where a later stage puts adapters in again.
    for part in model.modules():
        vars(part).pop("peft_config", None)


def merged(model: Any) -> Any:
    """The model itself where it has no adapters, else a copy in which they are merged."""
    if not is_adapted(model):
        return model
    found = copy.deepcopy(model)
    merge(found)
    return found


def is_adapted(model: nn.Module) -> bool:
    """Whether any layer has adapters."""
    return any(_is_adapted(layer) for layer in model.modules())


def are_in(names: Iterable[str]) -> bool:
    """Whether names of weights are those of a model with adapters."""
    return any(".lora_" in name for name in names)


def _is_adapted(layer: nn.Module) -> bool:
    """Whether a layer is one of PEFT's; without importing it."""
    return hasattr(layer, "get_base_layer") and hasattr(layer, "merge")


def _peft() -> Any:
    if importlib.util.find_spec("peft") is None:
        raise BackendError("lora: PEFT is not installed: pip install 'sightweave[lora]'.")
    box_operators.supply()
    try:
        with quantization.without_warnings():  # PEFT imports bitsandbytes wherever it is installed
            import peft
    except ImportError as error:
        raise BackendError(
            f"lora: PEFT is installed but cannot be imported: {error}. Install compatible releases of torch, "
            "torchvision, transformers "
            "and peft."
        ) from error
    return peft
