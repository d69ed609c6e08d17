"""SigLIP and SigLIP 2 with a fixed image size: the image encoder, alone or from a pair with a text encoder.

Sigmoid Loss for Language Image Pre-Training (Zhai et al. 2023, arXiv:2303.15343); SigLIP 2 (Tschannen et al. 2025,
arXiv:2502.14786). The pooling head is not loaded: a language model reads the grid of features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps._base import KeyMap, need, refuse

FORMS = {
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "quick_gelu": "quick_gelu",
}
"""Maps Transformers' names of activations to ours."""


def fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Our fields from their config, for the settings that have the same names in all families of this architecture.

    Raises:
        ValueError: the activation is not supported.
    """
    form = theirs.get("hidden_act", "gelu_pytorch_tanh")
    if form not in FORMS:
        raise ValueError(f"hidden_act is {form!r}, but only {', '.join(FORMS)} are supported.")
    refuse(num_channels=(theirs.get("num_channels", 3), 3))

    # Transformers omits settings that have their default values, which are those of SiglipVisionConfig.
    return {
        "image_size": theirs.get("image_size", 224),
        "patch_size": theirs.get("patch_size", 16),
        "dim": theirs.get("hidden_size", 768),
        "depth": theirs.get("num_hidden_layers", 12),
        "num_heads": theirs.get("num_attention_heads", 12),
        "hidden_dim": theirs.get("intermediate_size", 3072),
        "feed_forward": FORMS[form],
        "norm_eps": theirs.get("layer_norm_eps", 1e-6),
    }


def _settings(ours: Any) -> dict[str, Any]:
    need(
        class_token=(ours.class_token, False),
        pre_norm=(ours.pre_norm, False),
        layer_scale=(ours.layer_scale, False),
    )
    return {"model_type": "siglip_vision_model", **settings(ours)}


def settings(ours: Any) -> dict[str, Any]:
    """Their config from our fields, the inverse of `fields`.

    Raises:
        ValueError: Transformers does not have our activation.
    """
    need(stem=(ours.stem, "patch"))
    forms = {form: name for name, form in FORMS.items()}
    if ours.feed_forward not in forms:
        raise ValueError(f"feed_forward is {ours.feed_forward!r} (theirs: {', '.join(forms)})")

    return {
        "image_size": ours.image_size,
        "patch_size": ours.patch_size,
        "num_channels": 3,
        "hidden_size": ours.dim,
        "num_hidden_layers": ours.depth,
        "num_attention_heads": ours.num_heads,
        "intermediate_size": ours.hidden_dim or 4 * ours.dim,
        "hidden_act": forms[ours.feed_forward],
        "layer_norm_eps": ours.norm_eps,
    }


KEYMAP = KeyMap(
    part="encoder",
    kind="vit",
    model_types=("siglip", "siglip_vision_model", "idefics3_vision", "smolvlm_vision"),
    inner="vision_config",
    roots=("vision_model.", ""),
    unused=(
        "text_model.",
        "logit_scale",
        "logit_bias",
        "vision_model.head.",
        "head.",
        "vision_model.embeddings.position_ids",
    ),
    names={
        "stem": "embeddings.patch_embedding",
        "place_table": "embeddings.position_embedding.weight",
        "blocks.{n}.attention_norm": "encoder.layers.{n}.layer_norm1",
        "blocks.{n}.attention.q": "encoder.layers.{n}.self_attn.q_proj",
        "blocks.{n}.attention.k": "encoder.layers.{n}.self_attn.k_proj",
        "blocks.{n}.attention.v": "encoder.layers.{n}.self_attn.v_proj",
        "blocks.{n}.attention.out": "encoder.layers.{n}.self_attn.out_proj",
        "blocks.{n}.feed_forward_norm": "encoder.layers.{n}.layer_norm2",
        "blocks.{n}.feed_forward.up": "encoder.layers.{n}.mlp.fc1",
        "blocks.{n}.feed_forward.down": "encoder.layers.{n}.mlp.fc2",
        "norm": "post_layernorm",
    },
    optional=("norm.weight", "norm.bias"),
    fields=fields,
    settings=_settings,
)
