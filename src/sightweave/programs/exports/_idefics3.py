"""The Idefics3 layout, which Transformers, vLLM and llama.cpp can all read.

Building and better understanding vision-language models (Laurencon et al. 2024, arXiv:2408.12637).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sightweave.core import config
from sightweave.programs.exports._layout import (
    Layout,
    Source,
    common_refusals,
    framed_refusals,
    part_settings,
    part_tensors,
    renamed,
    with_head,
)


def _refusals(source: Source) -> list[str]:
    """The reasons why a composition does not fit the layout; empty if it does."""
    found = common_refusals(source) + framed_refusals(source)
    connector, transform = source.parts.connector, source.transform
    if config.kind_of(connector) != "pixel_shuffle":
        found.append(
            f"model.connector is {config.kind_of(connector)}, but the format supports pixel_shuffle only"
        )
    if transform.fit != "squash":
        found.append(
            f"images are fitted by {transform.fit}, but the format squashes them: train with inputs.fit=squash"
        )

    # The families of the parts can be compared only if everything else fits.
    if found:
        return found

    vision, text = part_settings(source, "encoder"), part_settings(source, "language_model")
    if vision["model_type"] != "siglip_vision_model":
        found.append(
            f"model.encoder is of the family {vision['model_type']}, but the format supports SigLIP only"
        )
    elif not source.parts.encoder.post_norm:
        found.append("model.encoder has no final norm, but the format has one: train with post_norm=true")
    if text["model_type"] != "llama":
        found.append(
            f"model.language_model is of the family {text['model_type']}; llama.cpp and SmolVLM support llama"
        )

    return found


def _tensors(source: Source) -> dict[str, Tensor]:
    vision = renamed(part_tensors(source, "encoder"), ("", "model."))
    text = renamed(with_head(part_tensors(source, "language_model")), ("model.", "model.text_model."))
    projection = source.model.connector.state_dict()["projection.weight"]
    return vision | {"model.connector.modality_projection.proj.weight": projection} | text


def _config(source: Source) -> dict[str, Any]:
    text = part_settings(source, "language_model")
    vision = part_settings(source, "encoder") | {"model_type": "idefics3_vision"}
    return {
        "architectures": ["Idefics3ForConditionalGeneration"],
        "model_type": "idefics3",
        "image_token_id": source.processor.tokenizer.image_id,
        "scale_factor": source.parts.connector.factor,
        "tie_word_embeddings": text["tie_word_embeddings"],
        "pad_token_id": text["pad_token_id"],
        "bos_token_id": text["bos_token_id"],
        "eos_token_id": text["eos_token_id"],
        "text_config": text,
        "vision_config": vision,
    }


def _processor(source: Source) -> dict[str, Any]:
    size, first = source.transform.size, source.transform.resize_to
    return {
        "processor_class": "Idefics3Processor",
        "image_seq_len": source.processor.layout.tokens_per_image,
        "image_processor": {
            "image_processor_type": "Idefics3ImageProcessor",
            # Whether images are resized to a longest edge before they are resized to the square.
            "do_resize": bool(first),
            "do_image_splitting": False,
            "do_pad": True,
            "size": {"longest_edge": first or size},
            "max_image_size": {"longest_edge": size},
        },
    }


LAYOUT = Layout(
    name="idefics3",
    refusals=_refusals,
    tensors=_tensors,
    config=_config,
    processor=_processor,
    frames_by_processor=True,
)
