"""Folders of tiny random checkpoints of families that come through adapters, written by Transformers itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from parity._checkpoints import shaken

VOCABULARY = 320
"""As large as that of the contract tests' tokenizer, with which texts are read here."""
_BLOCKS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_WORDS = _BLOCKS | {"vocab_size": VOCABULARY, "max_position_embeddings": 512}
_GEMMA = _WORDS | {"num_key_value_heads": 2, "head_dim": 16}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
_QUIET = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
_BERT = _WORDS | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_BART: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "max_position_embeddings": 512,
    "dropout": 0.0,
    "scale_embedding": True,
    **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 48 for side in ("encoder", "decoder")},
}
_T5 = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
}
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_VISION = _BLOCKS | {"image_size": 32, "patch_size": 8}


def _writer(model: str, config: str, **sizes: Any) -> Callable[..., Any]:
    """Writes a folder and gives the model that Transformers loads from it."""

    def write(folder: Path, **more: Any) -> Any:
        torch.manual_seed(0)
        kind = getattr(transformers, model)
        shaken(kind(getattr(transformers, config)(**sizes | more))).save_pretrained(folder)
        return kind.from_pretrained(folder).eval()

    return write


GPT2_SMALL = {"n_embd": 768, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}
"""Published widths of openai-community/gpt2."""
BERT_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "vocab_size": 30522}
"""Published widths of google-bert/bert-base-uncased."""
CONVNEXT_TINY = {"hidden_sizes": [96, 192, 384, 768], "depths": [1, 1, 1, 1], "image_size": 224}
"""Published widths of facebook/convnext-tiny-224."""

CAUSAL = {
    "gpt2": _writer("GPT2LMHeadModel", "GPT2Config", **_GPT2, **_QUIET, bos_token_id=1, eos_token_id=2),
    "gemma": _writer("GemmaForCausalLM", "GemmaConfig", **_GEMMA),
    "gemma 2, windows": _writer("Gemma2ForCausalLM", "Gemma2Config", **_GEMMA, sliding_window=4),
    "gemma 3, windows": _writer(
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        **_GEMMA,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "mistral, windows": _writer(
        "MistralForCausalLM", "MistralConfig", **_WORDS, num_key_value_heads=2, sliding_window=4
    ),
    "opt": _writer(
        "OPTForCausalLM",
        "OPTConfig",
        vocab_size=VOCABULARY,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        dropout=0.0,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "neox": _writer("GPTNeoXForCausalLM", "GPTNeoXConfig", **_WORDS),
}
ENCODER_DECODER = {
    "mbart": _writer("MBartForConditionalGeneration", "MBartConfig", **_BART),
    "nllb": _writer("M2M100ForConditionalGeneration", "M2M100Config", **_BART),
    "bart": _writer("BartForConditionalGeneration", "BartConfig", **_BART),
    "marian": _writer("MarianMTModel", "MarianConfig", **_BART, **_IDS, decoder_start_token_id=0),
    "t5": _writer("T5ForConditionalGeneration", "T5Config", **_T5),
    "mt5": _writer(
        "MT5ForConditionalGeneration",
        "MT5Config",
        **_T5,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    ),
}
BIDIRECTIONAL = {
    "bert": _writer("BertModel", "BertConfig", **_BERT),
    "roberta": _writer("RobertaModel", "RobertaConfig", **_BERT),
    "modernbert, windows": _writer(
        "ModernBertModel",
        "ModernBertConfig",
        **_WORDS,
        **_IDS,
        cls_token_id=3,
        sep_token_id=4,
        local_attention=6,
        global_attn_every_n_layers=2,
    ),
}
LANGUAGE_MODELS = CAUSAL | ENCODER_DECODER | BIDIRECTIONAL
REFUSED = {
    "bloom": _writer(
        "BloomForCausalLM", "BloomConfig", vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4
    ),
    "deberta": _writer("DebertaV2Model", "DebertaV2Config", **_BERT),
    "umt5": _writer("UMT5ForConditionalGeneration", "UMT5Config", **_T5),
    "mamba": _writer(
        "MambaForCausalLM", "MambaConfig", vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2
    ),
}
"""Families whose positions or masks cannot be set."""
ENCODERS = {
    "convnext": _writer(
        "ConvNextModel", "ConvNextConfig", hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, image_size=64
    ),
    "vit": _writer("ViTModel", "ViTConfig", **_VISION),
    "vit classifier": _writer("ViTForImageClassification", "ViTConfig", **_VISION),
    "siglip": _writer("SiglipVisionModel", "SiglipVisionConfig", **_VISION),
    "dinov2 with registers": _writer(
        "Dinov2WithRegistersModel",
        "Dinov2WithRegistersConfig",
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    ),
    "deit": _writer("DeiTModel", "DeiTConfig", **_VISION),
    "beit": _writer("BeitModel", "BeitConfig", **_VISION),
    "swin": _writer(
        "SwinModel",
        "SwinConfig",
        image_size=64,
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1, 2, 2, 2],
        window_size=2,
    ),
    "resnet": _writer(
        "ResNetModel", "ResNetConfig", hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, embedding_size=8
    ),
    "clip pair": _writer(
        "CLIPModel", "CLIPConfig", text_config=_BLOCKS | {"vocab_size": 50} | _IDS, vision_config=_VISION
    ),
}
EXTRA_TOKENS = {
    "vit": 1,
    "vit classifier": 1,
    "clip pair": 1,
    "beit": 1,
    "deit": 2,
    "dinov2 with registers": 5,
}
"""Class, distillation and register tokens that stand before those of the grid."""
