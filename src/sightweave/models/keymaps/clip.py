"""CLIP's image encoder, alone or from a pair with a text encoder; features are taken before the final norm, as in LLaVA.

Learning Transferable Visual Models From Natural Language Supervision (Radford et al. 2021, arXiv:2103.00020). If a part
has fewer blocks than the checkpoint, its features are those of an earlier block: LLaVA uses those before the last
block.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps import siglip
from sightweave.models.keymaps._base import need


def _fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    # Transformers omits settings that have their default values, which are those of CLIPVisionConfig.
    full = {"hidden_act": "quick_gelu", "patch_size": 32, "layer_norm_eps": 1e-5, **theirs}
    return siglip.fields(full) | {"class_token": True, "pre_norm": True, "post_norm": False}


def _settings(ours: Any) -> dict[str, Any]:
    need(
        class_token=(ours.class_token, True),
        pre_norm=(ours.pre_norm, True),
        layer_scale=(ours.layer_scale, False),
    )
    return {"model_type": "clip_vision_model", **siglip.settings(ours)}


KEYMAP = dataclasses.replace(
    siglip.KEYMAP,
    model_types=("clip", "clip_vision_model"),
    unused=(
        *("text_model.", "text_projection.", "visual_projection.", "logit_scale"),
        *("vision_model.embeddings.position_ids", "embeddings.position_ids"),
    ),
    names={
        **siglip.KEYMAP.names,
        "class_token": "embeddings.class_embedding",
        "pre_norm": "pre_layrnorm",  # misspelled in Transformers
    },
    fields=_fields,
    settings=_settings,
)
