"""LLaVA as a complete model: any encoder, a two-layer MLP, and any causal language model.

Improved Baselines with Visual Instruction Tuning (LLaVA-1.5, Liu et al. 2023, arXiv:2310.03744).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps._base import KeyMap, Place, Whole, refuse


def _encoder(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Encoder fields that select the features of one layer, counted from the last, before any final norm.

    Raises:
        ValueError: the config selects features in a way that is not supported.
    """
    vision = theirs["vision_config"]

    layer = theirs.get("vision_feature_layer", -2)
    if not isinstance(layer, int) or layer >= 0:
        raise ValueError(
            f"vision_feature_layer is {layer!r}, but only one layer, counted from the last, is supported."
        )

    has_class = vision.get("model_type") == "clip_vision_model"
    strategy = theirs.get("vision_feature_select_strategy", "default")
    refuse(vision_feature_select_strategy=(strategy, "default" if has_class else "full"))

    return {"post_norm": False, "depth": vision.get("num_hidden_layers", 12) + 1 + layer}


def _connector(theirs: Mapping[str, Any]) -> dict[str, Any]:
    refuse(
        projector_hidden_act=(theirs.get("projector_hidden_act", "gelu"), "gelu"),
        multimodal_projector_bias=(theirs.get("multimodal_projector_bias", True), True),
    )
    return {}


WHOLE = Whole(
    model_types=("llava",),
    # All releases of Transformers read the first names of each list; version 5 writes the later ones.
    places={
        "encoder": Place(
            inner="vision_config",
            names=(("vision_tower.", ""), ("model.vision_tower.", "")),
            fields=_encoder,
        ),
        "connector": Place(names=(("multi_modal_projector.", ""), ("model.multi_modal_projector.", ""))),
        "language_model": Place(
            inner="text_config",
            names=(
                ("language_model.lm_head.", "lm_head."),
                ("language_model.", ""),
                ("model.language_model.", "model."),
                ("lm_head.", "lm_head."),
            ),
        ),
    },
    connector=KeyMap(
        part="connector",
        kind="mlp",
        model_types=("llava",),
        names={"first": "linear_1", "second": "linear_2"},
        fields=_connector,
    ),
)
