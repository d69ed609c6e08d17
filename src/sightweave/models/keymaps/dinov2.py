"""DINOv2: a self-supervised Vision Transformer with layer scale.

DINOv2: Learning Robust Visual Features without Supervision (Oquab et al. 2023, arXiv:2304.07193). Its checkpoints have
position embeddings for images of 518 pixels: set ``image_size: 224`` next to the folder for smaller images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps import siglip, vit
from sightweave.models.keymaps._base import KeyMap, need, refuse


def _fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    refuse(
        qkv_bias=(theirs.get("qkv_bias", True), True),
        use_swiglu_ffn=(bool(theirs.get("use_swiglu_ffn", False)), False),
        apply_layernorm=(theirs.get("apply_layernorm", True), True),
    )

    dim, ratio = theirs.get("hidden_size", 768), theirs.get("mlp_ratio", 4)
    full = {"hidden_act": "gelu", "layer_norm_eps": 1e-6, **theirs, "intermediate_size": int(dim * ratio)}
    return siglip.fields(full) | {"class_token": True, "layer_scale": True}


def _settings(ours: Any) -> dict[str, Any]:
    need(
        class_token=(ours.class_token, True),
        pre_norm=(ours.pre_norm, False),
        layer_scale=(ours.layer_scale, True),
        post_norm=(ours.post_norm, True),
    )

    settings = siglip.settings(ours)
    hidden_dim = settings.pop("intermediate_size")
    if hidden_dim % ours.dim:
        raise ValueError(f"hidden_dim is {hidden_dim} (theirs: a multiple of {ours.dim})")

    return {"model_type": "dinov2", "qkv_bias": True, "mlp_ratio": hidden_dim // ours.dim, **settings}


KEYMAP = KeyMap(
    part="encoder",
    kind="vit",
    model_types=("dinov2",),
    roots=("", "dinov2."),
    unused=("embeddings.mask_token", "dinov2.embeddings.mask_token", "classifier."),
    lead={"class_token": 2, "place_table": 1},
    names=vit.ATTENTION
    | {
        "blocks.{n}.attention_norm": "encoder.layer.{n}.norm1",
        "blocks.{n}.attention_scale": "encoder.layer.{n}.layer_scale1.lambda1",
        "blocks.{n}.feed_forward_norm": "encoder.layer.{n}.norm2",
        "blocks.{n}.feed_forward.up": "encoder.layer.{n}.mlp.fc1",
        "blocks.{n}.feed_forward.down": "encoder.layer.{n}.mlp.fc2",
        "blocks.{n}.feed_forward_scale": "encoder.layer.{n}.layer_scale2.lambda1",
    },
    optional=("norm.weight", "norm.bias"),
    fields=_fields,
    settings=_settings,
)
