"""Llama and models with the same block: SmolLM2, TinyLlama, and Mistral without a sliding window.

Llama 2: Open Foundation and Fine-Tuned Chat Models (Touvron et al. 2023, arXiv:2307.09288).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps._base import KeyMap, need, refuse
from sightweave.models.nn.feed_forward import default_hidden_dim


def _fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    refuse(sliding_window=(theirs.get("sliding_window"), None))
    return fields(theirs)


def fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Our fields from their config, for the settings that have the same names in all families with this block."""
    dim, heads = theirs["hidden_size"], theirs["num_attention_heads"]

    # Transformers 5 stores rotary settings in one mapping, version 4 in two.
    rope = theirs.get("rope_parameters") or theirs.get("rope_scaling") or {}
    refuse(
        hidden_act=(theirs.get("hidden_act", "silu"), "silu"),
        attention_bias=(bool(theirs.get("attention_bias", False)), False),
        mlp_bias=(bool(theirs.get("mlp_bias", False)), False),
        rope_type=(rope.get("rope_type", rope.get("type", "default")), "default"),
    )

    head_dim = theirs.get("head_dim") or dim // heads
    return {
        "dim": dim,
        "depth": theirs["num_hidden_layers"],
        "num_heads": heads,
        "num_kv_heads": theirs.get("num_key_value_heads") or heads,
        **({} if head_dim * heads == dim else {"head_dim": head_dim}),
        "hidden_dim": theirs["intermediate_size"],
        "feed_forward": "swiglu",
        "norm": "rms",
        "norm_eps": theirs.get("rms_norm_eps", 1e-6),
        "position": "rotary",
        "rope_base": rope.get("rope_theta") or theirs.get("rope_theta") or 10_000.0,
        "max_length": theirs.get("max_position_embeddings", 2048),
        "tie_embeddings": bool(theirs.get("tie_word_embeddings", False)),
    }


def _settings(ours: Any) -> dict[str, Any]:
    need(qk_norm=(ours.qk_norm, False), qkv_bias=(bool(ours.qkv_bias), False))
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "mlp_bias": False,
        **settings(ours),
    }


def settings(ours: Any) -> dict[str, Any]:
    """Their config from our fields, the inverse of `fields`."""
    need(
        feed_forward=(ours.feed_forward, "swiglu"),
        norm=(ours.norm, "rms"),
        position=(ours.position, "rotary"),
        normalise_embeddings=(ours.normalise_embeddings, False),
        bias=(ours.bias, False),
    )

    return {
        "hidden_size": ours.dim,
        "num_hidden_layers": ours.depth,
        "num_attention_heads": ours.num_heads,
        "num_key_value_heads": ours.num_kv_heads or ours.num_heads,
        "head_dim": ours.head_dim or ours.dim // ours.num_heads,
        "intermediate_size": ours.hidden_dim or default_hidden_dim(ours.dim, ours.feed_forward),
        "hidden_act": "silu",
        "rms_norm_eps": ours.norm_eps,
        # The setting is written twice: Transformers 4 reads the first, version 5 the second.
        "rope_theta": ours.rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": ours.rope_base},
        "max_position_embeddings": ours.max_length,
        "tie_word_embeddings": ours.tie_embeddings,
    }


KEYMAP = KeyMap(
    part="language_model",
    kind="decoder_only",
    model_types=("llama", "mistral"),
    names={
        "token_embedding.table": "model.embed_tokens",
        "blocks.{n}.attention_norm": "model.layers.{n}.input_layernorm",
        "blocks.{n}.attention.q": "model.layers.{n}.self_attn.q_proj",
        "blocks.{n}.attention.k": "model.layers.{n}.self_attn.k_proj",
        "blocks.{n}.attention.v": "model.layers.{n}.self_attn.v_proj",
        "blocks.{n}.attention.out": "model.layers.{n}.self_attn.o_proj",
        "blocks.{n}.feed_forward_norm": "model.layers.{n}.post_attention_layernorm",
        "blocks.{n}.feed_forward.gate": "model.layers.{n}.mlp.gate_proj",
        "blocks.{n}.feed_forward.up": "model.layers.{n}.mlp.up_proj",
        "blocks.{n}.feed_forward.down": "model.layers.{n}.mlp.down_proj",
        "norm": "model.norm",
        "output": "lm_head",
    },
    tied={"output.weight": "token_embedding.table.weight"},
    fields=_fields,
    settings=_settings,
)
