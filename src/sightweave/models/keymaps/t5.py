"""T5 (first release): an encoder-decoder with relative positions, ReLU, and a head tied to the embedding table.

Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer (Raffel et al. 2019, arXiv:1910.10683).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightweave.models.keymaps._base import KeyMap, refuse

_FORMS = {"relu": "relu", "gated-gelu": "geglu", "gated-silu": "swiglu"}
"""Maps Transformers' names of feed-forward forms to ours."""


def is_gated(theirs: Mapping[str, Any]) -> bool:
    """Whether the feed-forward layer has three matrices, as in T5 1.1 and mT5; two of them then have other names."""
    return _form(theirs).startswith("gated")


def _form(theirs: Mapping[str, Any]) -> str:
    """The name of the feed-forward form in their config."""
    return str(theirs.get("feed_forward_proj", "gated-gelu" if _is_multilingual(theirs) else "relu"))


def _is_multilingual(theirs: Mapping[str, Any]) -> bool:
    return bool(theirs.get("model_type") == "mt5")


def fields(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Our fields from their config, for the settings that have the same names in all releases.

    Raises:
        ValueError: the feed-forward form is not supported.
    """
    form = _form(theirs)
    if form not in _FORMS:
        raise ValueError(f"feed_forward_proj is {form!r}, but only {', '.join(_FORMS)} are supported.")
    refuse(
        relative_attention_num_buckets=(theirs.get("relative_attention_num_buckets", 32), 32),
        relative_attention_max_distance=(theirs.get("relative_attention_max_distance", 128), 128),
    )

    # Transformers 4 scales the decoder's output if the head is tied; version 5 has a setting for it. mT5 has its own
    # head.
    is_scaled = theirs.get("scale_decoder_outputs", theirs.get("tie_word_embeddings", True))
    is_tied = bool(is_scaled) and not _is_multilingual(theirs)

    depth = theirs["num_layers"]
    return {
        "dim": theirs["d_model"],
        "encoder_depth": depth,
        "decoder_depth": theirs.get("num_decoder_layers") or depth,
        "num_heads": theirs["num_heads"],
        "head_dim": theirs["d_kv"],
        "hidden_dim": theirs["d_ff"],
        "feed_forward": _FORMS[form],
        "norm": "rms",
        "norm_eps": theirs.get("layer_norm_epsilon", 1e-6),
        "position": "relative",
        "tie_embeddings": is_tied,
        "scale_scores": False,
        "scale_head": is_tied,
    }


def _stack(ours: str, theirs: str, *, relative: str, attends: bool) -> dict[str, str]:
    """Our names -> their names for the encoder or the decoder; `attends` adds the decoder's attention to the memory.

    The last layer of a block is its feed-forward layer.
    """
    block = f"{theirs}.block.{{n}}.layer"
    blocks, last = f"{ours}blocks.{{n}}", f"{block}.{2 if attends else 1}"

    names = {
        relative: f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias",
        f"{ours}norm": f"{theirs}.final_layer_norm",
        f"{blocks}.attention_norm": f"{block}.0.layer_norm",
        f"{blocks}.feed_forward_norm": f"{last}.layer_norm",
        f"{blocks}.feed_forward.up": f"{last}.DenseReluDense.wi",
        f"{blocks}.feed_forward.down": f"{last}.DenseReluDense.wo",
    }

    layers = {"attention": f"{block}.0.SelfAttention"}
    if attends:
        layers["memory_attention"] = f"{block}.1.EncDecAttention"
        names[f"{blocks}.memory_norm"] = f"{block}.1.layer_norm"

    for name, place in layers.items():
        names |= {f"{blocks}.{name}.{one}": f"{place}.{one}" for one in ("q", "k", "v")}
        names[f"{blocks}.{name}.out"] = f"{place}.o"

    return names


KEYMAP = KeyMap(
    part="language_model",
    kind="encoder_decoder",
    model_types=("t5", "mt5"),
    when=lambda theirs: not is_gated(theirs),
    unused=(
        *("encoder.embed_tokens.", "decoder.embed_tokens."),
        # Present in the first release, but never used.
        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.",
    ),
    names={
        "token_embedding.table": "shared",
        **_stack("encoder_", "encoder", relative="encoder_relative.table", attends=False),
        **_stack("", "decoder", relative="relative.table", attends=True),
        "output": "lm_head",
    },
    tied={"output.weight": "token_embedding.table.weight"},
    fields=fields,
)
