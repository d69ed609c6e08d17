"""Qwen3: Llama's block with normalised queries and keys, and a head width of its own.

Qwen3 Technical Report (Yang et al. 2025, arXiv:2505.09388).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps import llama
from sightweave.models.keymaps._base import need, refuse


def _fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    refuse(use_sliding_window=(bool(theirs.get("use_sliding_window", False)), False))

    # The default of Qwen3Config, which does not depend on the model's width.
    head_dim = theirs.get("head_dim") or 128
    return llama.fields({**theirs, "head_dim": head_dim}) | {"qk_norm": True}


def _settings(ours: Any) -> dict[str, Any]:
    need(qk_norm=(ours.qk_norm, True), qkv_bias=(bool(ours.qkv_bias), False))
    return {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "use_sliding_window": False,
        **llama.settings(ours),
    }


KEYMAP = dataclasses.replace(
    llama.KEYMAP,
    model_types=("qwen3",),
    names={
        **llama.KEYMAP.names,
        "blocks.{n}.attention.q_norm": "model.layers.{n}.self_attn.q_norm",
        "blocks.{n}.attention.k_norm": "model.layers.{n}.self_attn.k_norm",
    },
    fields=_fields,
    settings=_settings,
)
