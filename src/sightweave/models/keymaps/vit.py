"""The original Vision Transformer, from its own checkpoints or a classifier's.

An Image is Worth 16x16 Words (Dosovitskiy et al. 2020, arXiv:2010.11929).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps import siglip
from sightweave.models.keymaps._base import KeyMap, need, refuse


def _fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    refuse(qkv_bias=(theirs.get("qkv_bias", True), True))
    full = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, **theirs}
    return siglip.fields(full) | {"class_token": True}


def _settings(ours: Any) -> dict[str, Any]:
    need(
        class_token=(ours.class_token, True),
        pre_norm=(ours.pre_norm, False),
        layer_scale=(ours.layer_scale, False),
        post_norm=(ours.post_norm, True),
    )
    return {"model_type": "vit", "qkv_bias": True, **siglip.settings(ours)}


ATTENTION = {
    "stem": "embeddings.patch_embeddings.projection",
    "class_token": "embeddings.cls_token",
    "place_table": "embeddings.position_embeddings",
    "blocks.{n}.attention.q": "encoder.layer.{n}.attention.attention.query",
    "blocks.{n}.attention.k": "encoder.layer.{n}.attention.attention.key",
    "blocks.{n}.attention.v": "encoder.layer.{n}.attention.attention.value",
    "blocks.{n}.attention.out": "encoder.layer.{n}.attention.output.dense",
    "norm": "layernorm",
}
"""Weight names (ours -> theirs) that DINOv2 shares."""
KEYMAP = KeyMap(
    part="encoder",
    kind="vit",
    model_types=("vit",),
    roots=("", "vit."),
    unused=("pooler.", "vit.pooler.", "classifier."),
    lead={"class_token": 2, "place_table": 1},
    names=ATTENTION
    | {
        "blocks.{n}.attention_norm": "encoder.layer.{n}.layernorm_before",
        "blocks.{n}.feed_forward_norm": "encoder.layer.{n}.layernorm_after",
        "blocks.{n}.feed_forward.up": "encoder.layer.{n}.intermediate.dense",
        "blocks.{n}.feed_forward.down": "encoder.layer.{n}.output.dense",
    },
    optional=("norm.weight", "norm.bias"),
    fields=_fields,
    settings=_settings,
)
