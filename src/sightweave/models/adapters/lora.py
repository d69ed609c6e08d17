"""Low-rank adapters from PEFT: a part's own weights stay frozen while small factors of its linear layers are trained.

LoRA: Low-Rank Adaptation of Large Language Models (Hu et al. 2021, arXiv:2106.09685); DoRA (Liu et al. 2024,
arXiv:2402.09353). This is the only file that imports PEFT, and only if a stage uses adapters.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from sightweave.core import box_operators
from sightweave.core.config import config
from sightweave.core.errors import BackendError, RecipeError, did_you_mean
from sightweave.models.adapters import quantization

_NAME = "sightweave"
"""Name of the adapter inside PEFT's layers; it appears in the names of stored weights."""


@config
class Lora:
    """LoRA adapters for the linear layers of one part."""

    rank: PositiveInt = 16
    """Rank of the adapters."""
    alpha: PositiveFloat = 32.0
    """Scale of the adapters, whose output is multiplied by alpha / rank."""
    dropout: Annotated[NonNegativeFloat, Field(lt=1)] = 0.0
    """Dropout probability of an adapter's input."""
    target_modules: tuple[str, ...] = ()
    """Layers to adapt, such as q and v; empty means every linear layer of the part except the head."""
    use_dora: bool = False
    """Whether to learn the magnitude of each weight row separately (DoRA)."""
    keep: bool = False
    """Whether to keep the adapters separate after the last stage instead of merging them; loading the run then needs
    PEFT."""


def add(part: nn.Module, settings: Lora, *, where: str) -> None:
    """Adds adapters to the layers of a part; its output is unchanged at first, and only the adapters require gradients.

    Args:
        part: The part, changed in place.
        settings: Rank, scale and targets of the adapters.
        where: Name of the part, for error messages.

    Raises:
        BackendError: PEFT is not installed.
        RecipeError: a target is not the name of a linear layer of the part, or DoRA is used on a layer with a row of
            zeros.
    """
    peft = _peft()
    layers = {path: layer for path, layer in part.named_modules() if isinstance(layer, nn.Linear)}
    names = {path.rpartition(".")[2] for path in layers}

    for target in settings.target_modules:
        if target not in names:
            raise RecipeError(f"{where}: lora.target_modules has {target!r}. {did_you_mean(target, names)}")
    targets = list(settings.target_modules or sorted(names - {"output"}))
    if not targets:
        raise RecipeError(f"{where}: has no linear layer to adapt.")
    if settings.use_dora:
        for path, layer in layers.items():
            if path.rpartition(".")[2] in targets:
                _check_rows(path, layer, where)

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


def _check_rows(path: str, layer: nn.Linear, where: str) -> None:
    """Rejects a layer with a row of zeros, such as the last one of a new branch, because DoRA divides by the rows' norms.

    Raises:
        RecipeError: the layer has such a row.
    """
    if not layer.weight.is_meta and not layer.weight.any(dim=1).all():
        raise RecipeError(
            f"{where}: {path} has a row of zeros, and DoRA divides by each row's norm: start from a trained part, set "
            "use_dora: false, or choose other layers in target_modules."
        )


def merge(model: nn.Module) -> None:
    """Merges every adapter into its layer; without adapters, does nothing.

    The output stays the same up to rounding.
    """
    for name, layer in list(model.named_modules()):
        if not _is_adapted(layer):
            continue
        layer.merge(safe_merge=True)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.get_base_layer())

    # PEFT records its adapters on each part, and would warn if a later stage adds adapters again.
    for part in model.modules():
        vars(part).pop("peft_config", None)


def merged(model: Any) -> Any:
    """The model itself if it has no adapters; otherwise a copy in which they are merged."""
    if not is_adapted(model):
        return model

    copied = copy.deepcopy(model)
    merge(copied)
    return copied


def is_adapted(model: nn.Module) -> bool:
    """Whether any layer has adapters."""
    return any(_is_adapted(layer) for layer in model.modules())


def are_in(names: Iterable[str]) -> bool:
    """Whether these names of weights include those of adapters."""
    return any(".lora_" in name for name in names)


def _is_adapted(layer: nn.Module) -> bool:
    """Whether a layer is one of PEFT's, determined without importing PEFT."""
    return hasattr(layer, "get_base_layer") and hasattr(layer, "merge")


def _peft() -> Any:
    """Imports PEFT.

    Raises:
        BackendError: PEFT is not installed, or cannot be imported.
    """
    if importlib.util.find_spec("peft") is None:
        raise BackendError("lora: PEFT is not installed: pip install 'sightweave[lora]'.")

    box_operators.supply()
    try:
        with quantization.without_warnings():  # PEFT imports bitsandbytes if that is installed
            import peft
    except ImportError as error:
        raise BackendError(
            f"lora: PEFT is installed but cannot be imported: {error}. Install compatible releases of torch, "
            "torchvision, transformers and peft."
        ) from error

    return peft
