"""The parts of a model by their names in recipes, and functions that choose which of them train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from torch import nn

from sightweave.core.errors import RecipeError, did_you_mean
from sightweave.models.adapters import lora
from sightweave.models.adapters.lora import Lora
from sightweave.models.paths import MediaPath
from sightweave.models.vlm import VLM

PartName = Literal["encoder", "connector", "fusion", "language_model", "token_embedding", "image_tokenizer"]
PART_NAMES: tuple[PartName, ...] = get_args(PartName)
"""Names of all parts that can train; ``token_embedding`` is the embedding table inside the language model."""


def named_parts(model: VLM) -> dict[PartName, nn.Module]:
    """Maps each part's name to its module; with several modalities, all encoders are one part, as are all connectors.

    A model without an image tokenizer has no part of that name.
    """
    paths = {name: path for name, path in model.encoders.items() if isinstance(path, MediaPath)}

    # With one modality, these parts are the encoder and the connector themselves.
    encoder: nn.Module
    connector: nn.Module
    if len(paths) == 1:
        (path,) = paths.values()
        encoder, connector = path.encoder, path.connector
    else:
        encoder, connector = nn.ModuleDict(), nn.ModuleDict()
        for name, path in paths.items():
            encoder[name], connector[name] = path.encoder, path.connector

    parts: dict[PartName, nn.Module] = {
        "encoder": encoder,
        "connector": connector,
        "fusion": model.fusion,
        "language_model": model.language_model,
        "token_embedding": model.language_model.token_embedding,
    }
    if model.image_tokenizer is not None:
        parts["image_tokenizer"] = model.image_tokenizer
    return parts


def choose_parts(model: VLM, parts: Sequence[str], adapters: Mapping[PartName, Lora] | None = None) -> None:
    """Enables gradients for these parts and disables them for all others.

    Args:
        model: Changed in place.
        parts: Names of the parts that train.
        adapters: For parts in which only newly added low-rank adapters train, the settings of these adapters.

    Raises:
        RecipeError: a part is unknown or missing in the model, or adapters do not fit into a part.
        BackendError: there are adapters, but PEFT is not installed.
    """
    for name in parts:
        if name not in PART_NAMES:
            raise RecipeError(f"train.stages.parts: no part {name!r}. {did_you_mean(name, PART_NAMES)}")
    if "image_tokenizer" in parts and model.image_tokenizer is None:
        raise RecipeError(
            "train.stages.parts: has image_tokenizer, but the model has none; set model.image_tokenizer, such as "
            "{kind: fsq}."
        )

    model.requires_grad_(False)

    modules = named_parts(model)
    # In this order: the token embedding is inside the language model and must come after it.
    for part in PART_NAMES:
        if part not in parts:
            continue
        if adapters and part in adapters:
            lora.add(modules[part], adapters[part], where=f"train.stages.lora.{part}")
        else:
            modules[part].requires_grad_(True)


def enter_training(model: VLM, parts: Sequence[str]) -> None:
    """Puts the parts that train into training mode and all others into evaluation mode."""
    model.train()
    modules = named_parts(model)

    for part, module in modules.items():
        if part not in parts:
            module.eval()

    # Repeat for a part inside another one, such as the token embedding of a frozen language model.
    for part, module in modules.items():
        if part in parts:
            module.train()
