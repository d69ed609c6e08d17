"""Qwen2 and Qwen2.5: Llama's block with biases on queries, keys and values.

Qwen2 Technical Report (Yang et al. 2024, arXiv:2407.10671).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps import llama
from sightweave.models.keymaps._base import need, refuse


def _fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    refuse(use_sliding_window=(bool(theirs.get("use_sliding_window", False)), False))
    return llama.fields(theirs) | {"qkv_bias": True}


def _settings(ours: Any) -> dict[str, Any]:
    need(qk_norm=(ours.qk_norm, False), qkv_bias=(bool(ours.qkv_bias), True))
    return {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "use_sliding_window": False,
        **llama.settings(ours),
    }


KEYMAP = dataclasses.replace(llama.KEYMAP, model_types=("qwen2",), fields=_fields, settings=_settings)
