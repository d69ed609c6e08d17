"""Folders that other libraries wrote, with tiny random weights, for the kinds that read some."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import tempfile
from typing import Any

import torch

from sightweave.core import catalog

FORMS = {"gpt2": "causal", "mbart": "encoder_decoder", "bert": "classify"}
"""Language models of each form."""
_NEEDS = {"from_timm": "timm", "from_transformers": "transformers"}
_BERT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,
}


def installed(family: str) -> list[str]:
    """The kinds of a family whose libraries are there."""
    return [
        kind
        for kind in catalog.kinds(family)
        if kind not in _NEEDS or importlib.util.find_spec(_NEEDS[kind]) is not None
    ]


@functools.cache
def folder(name: str) -> str:
    """Of one model, written once."""
    place = tempfile.TemporaryDirectory(prefix="sightweave-")
    atexit.register(place.cleanup)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _WRITERS[name](place.name)
    return place.name


def _gpt2(place: str) -> None:
    import transformers

    config = transformers.GPT2Config(
        vocab_size=50,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=512,
        initializer_range=0.5,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=1,
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(place)


def _mbart(place: str) -> None:
    import transformers

    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {"layers": 2, "attention_heads": 4, "ffn_dim": 48}.items()
    }
    config = transformers.MBartConfig(
        vocab_size=50, d_model=32, max_position_embeddings=512, init_std=0.35, dropout=0.0, **sides
    )
    transformers.MBartForConditionalGeneration(config).save_pretrained(place)


def _bert(place: str) -> None:
    import transformers

    transformers.BertModel(transformers.BertConfig(vocab_size=50, **_BERT)).save_pretrained(place)


def _vit(place: str) -> None:
    import transformers

    config = transformers.ViTConfig(image_size=32, patch_size=8, **_BERT)
    transformers.ViTModel(config).save_pretrained(place)


def _timm(place: str) -> None:
    import timm

    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, **sizes)
    timm.models.save_for_hf(model, place, model_args=sizes, safe_serialization=True)


_WRITERS = {"gpt2": _gpt2, "mbart": _mbart, "bert": _bert, "vit": _vit, "vit_tiny": _timm}
OF_KIND = {
    ("models.encoders", "from_transformers"): "vit",
    ("models.encoders", "from_timm"): "vit_tiny",
    ("models.language_models", "from_transformers"): "gpt2",
}
"""The folder that stands for a kind where only one is needed."""
