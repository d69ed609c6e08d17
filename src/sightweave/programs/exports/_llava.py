"""The LLaVA layout, with the names of weights that every release of Transformers reads.

Improved Baselines with Visual Instruction Tuning (Liu et al. 2023, arXiv:2310.03744).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sightweave.core import config
from sightweave.programs.exports._layout import (
    Layout,
    Source,
    common_refusals,
    part_settings,
    part_tensors,
    renamed,
)

_TOWERS = ("siglip_vision_model", "clip_vision_model")
_IMAGE_PROCESSORS = {"squash": "SiglipImageProcessor", "crop": "CLIPImageProcessor"}


def _refusals(source: Source) -> list[str]:
    """The reasons why a composition does not fit the layout; empty if it does."""
    # Check the connector and the image transform.
    found = common_refusals(source)
    encoder, connector, transform = source.parts.encoder, source.parts.connector, source.transform

    if config.kind_of(connector) != "mlp":
        found.append(f"model.connector is {config.kind_of(connector)}, but the format supports mlp only")
    elif connector.hidden_dim not in (None, source.model.language_model.dim):
        found.append(
            f"model.connector.hidden_dim is {connector.hidden_dim}, but the format needs the language width, "
            f"{source.model.language_model.dim}"
        )

    if transform.fit == "squash" and transform.resize_to:
        found.append(
            f"images are resized twice, first to {transform.resize_to} pixels, but once in the format"
        )
    if transform.fit not in _IMAGE_PROCESSORS:
        found.append(f"images are fitted by {transform.fit}: train with inputs.fit=squash or crop")

    # Check the encoder.
    if config.kind_of(encoder) == "vit" and encoder.post_norm:
        found.append(
            "model.encoder has a final norm, but the format reads the features before it: train with post_norm=false"
        )
    if found:
        return found

    family = part_settings(source, "encoder")["model_type"]
    if family not in _TOWERS:
        found.append(
            f"model.encoder is of the family {family}, but the format supports {' and '.join(_TOWERS)} only"
        )

    return found


def _tensors(source: Source) -> dict[str, Tensor]:
    vision = renamed(part_tensors(source, "encoder"), ("", "vision_tower."))
    # The output does not depend on these weights, but Transformers requires them.
    ones = torch.ones(source.model.encoder.dim)
    vision["vision_tower.vision_model.post_layernorm.weight"] = ones
    vision["vision_tower.vision_model.post_layernorm.bias"] = torch.zeros_like(ones)

    text = renamed(part_tensors(source, "language_model"), ("", "language_model."))
    connector = renamed(
        source.model.connector.state_dict(),
        ("first.", "multi_modal_projector.linear_1."),
        ("second.", "multi_modal_projector.linear_2."),
    )
    return vision | connector | text


def _config(source: Source) -> dict[str, Any]:
    text, vision = part_settings(source, "language_model"), part_settings(source, "encoder")
    return {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": source.processor.tokenizer.image_id,
        "image_seq_length": source.processor.layout.tokens_per_image,
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": True,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": _strategy(source),
        "tie_word_embeddings": text["tie_word_embeddings"],
        "pad_token_id": text["pad_token_id"],
        "bos_token_id": text["bos_token_id"],
        "eos_token_id": text["eos_token_id"],
        "text_config": text,
        "vision_config": vision | {"vision_use_head": False},
    }


def _strategy(source: Source) -> str:
    """Name of the feature selection: "default" drops the class token; "full" is for encoders without one."""
    return "default" if source.parts.encoder.class_token else "full"


def _processor(source: Source) -> dict[str, Any]:
    size, transform = source.transform.size, source.transform
    square = {"height": size, "width": size}
    fits: dict[str, dict[str, Any]] = {
        "squash": {"size": square},
        "crop": {
            "size": {"shortest_edge": transform.resize_to or size},
            "do_center_crop": True,
            "crop_size": square,
        },
    }

    return {
        "processor_class": "LlavaProcessor",
        "patch_size": source.parts.encoder.patch_size,
        "vision_feature_select_strategy": _strategy(source),
        "num_additional_image_tokens": int(source.parts.encoder.class_token),
        "image_token": source.processor.tokenizer.template.image,
        "image_processor": {
            "image_processor_type": _IMAGE_PROCESSORS[transform.fit],
            "do_resize": True,
            **fits[transform.fit],
        },
    }


LAYOUT = Layout(
    name="llava",
    refusals=_refusals,
    tensors=_tensors,
    config=_config,
    processor=_processor,
    frames_by_processor=False,
)
