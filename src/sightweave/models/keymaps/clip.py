"""CLIP's image encoder, alone or out of a pair: features are what comes before its last norm, as LLaVA reads them.

Learning Transferable Visual Models From Natural Language Supervision (Radford et al. 2021, arXiv:2103.00020). With fewer
blocks than the checkpoint's, features are those of an earlier block: LLaVA reads them before the last one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps import siglip
from sightweave.models.keymaps._base import need


def _fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    # What Transformers leaves out has CLIPVisionConfig's default.
    told = {"hidden_act": "quick_gelu", "patch_size": 32, "layer_norm_eps": 1e-5, **theirs}
    return siglip.fields(told) | {"class_token": True, "pre_norm": True, "post_norm": False}


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
        "pre_norm": "pre_layrnorm",  # misspelt there
    },
    fields=_fields,
    settings=_settings,
)
