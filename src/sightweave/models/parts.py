"""The parts of a model by the names that recipes give them, and which of them train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from torch import nn

from sightweave.core.errors import RecipeError, did_you_mean
from sightweave.models.adapters import lora
from sightweave.models.adapters.lora import Lora
from sightweave.models.paths import MediaPath
from sightweave.models.vlm import VLM

PartName = Literal["encoder", "connector", "fusion", "language_model", "token_embedding"]
PART_NAMES: tuple[PartName, ...] = get_args(PartName)
"""All parts that can train; ``token_embedding`` is the table inside the language model."""


def named_parts(model: VLM) -> dict[PartName, nn.Module]:
    """The module of each name; with several modalities, all encoders are one part, and all connectors."""
    paths = {name: path for name, path in model.encoders.items() if isinstance(path, MediaPath)}

    # With one modality, the parts are the encoder and the connector themselves.
    encoder: nn.Module
    connector: nn.Module
    if len(paths) == 1:
        (path,) = paths.values()
        encoder, connector = path.encoder, path.connector
    else:
        encoder, connector = nn.ModuleDict(), nn.ModuleDict()
        for name, path in paths.items():
            encoder[name], connector[name] = path.encoder, path.connector

    return {
        "encoder": encoder,
        "connector": connector,
        "fusion": model.fusion,
        "language_model": model.language_model,
        "token_embedding": model.language_model.token_embedding,
    }


def choose_parts(model: VLM, parts: Sequence[str], adapters: Mapping[PartName, Lora] | None = None) -> None:
    """Enables gradients for these parts and disables them for all others.

    Args:
        model: Changed in place.
        parts: Names of the parts that train.
        adapters: Parts of which only newly added low-rank adapters train.

    Raises:
        RecipeError: an unknown part, or adapters that have no place in it.
        BackendError: there are adapters, and PEFT is not installed.
    """
    for name in parts:
        if name not in PART_NAMES:
            raise RecipeError(f"train.stages.parts: no part {name!r}. {did_you_mean(name, PART_NAMES)}")

    model.requires_grad_(False)

    modules = named_parts(model)
    for part in PART_NAMES:  # in this order: the table inside the language model comes after it
        if part not in parts:
            continue
        if adapters and part in adapters:
            lora.add(modules[part], adapters[part], where=f"train.stages.lora.{part}")
        else:
            modules[part].requires_grad_(True)


def enter_training(model: VLM, parts: Sequence[str]) -> None:
    """Puts the parts that train into training mode; the others drop no values and keep their running statistics."""
    model.train()
    modules = named_parts(model)

    for part, module in modules.items():
        if part not in parts:
            module.eval()

    # Once more for a part inside another one, such as the table of a frozen language model.
    for part, module in modules.items():
        if part in parts:
            module.train()
