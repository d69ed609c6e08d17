"""Folders of tiny random checkpoints, written by Transformers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

SIGLIP_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
"""Published widths of google/siglip2-base-patch16-224."""
SMOLLM2_135M = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
"""Published widths of HuggingFaceTB/SmolLM2-135M."""


def shaken(model: Any) -> Any:
    """Random weights that are not those of a fresh start, so that no norm or bias hides a mistake."""
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.2 if parameter.ndim < 2 else 0.6 / parameter[0].numel() ** 0.5
            parameter.add_(torch.randn_like(parameter) * spread)
    return model.eval()


def siglip(folder: Path, **sizes: Any) -> Any:
    """An image encoder with its image processor."""
    torch.manual_seed(0)
    tiny = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    model = shaken(
        transformers.SiglipVisionModel(transformers.SiglipVisionConfig(num_hidden_layers=2, **(tiny | sizes)))
    )
    model.save_pretrained(folder)
    side = model.config.image_size
    SiglipImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)
    return model


def siglip_pair(folder: Path) -> Any:
    """An image encoder beside a text encoder, as the published checkpoints hold them."""
    torch.manual_seed(0)
    tiny = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    config = transformers.SiglipConfig(
        text_config=tiny | {"vocab_size": 50}, vision_config=tiny | {"image_size": 32, "patch_size": 8}
    )
    model = shaken(transformers.SiglipModel(config))
    model.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return model


def llama(folder: Path, **sizes: Any) -> Any:
    """A language model without a tokenizer."""
    torch.manual_seed(0)
    model = shaken(transformers.LlamaForCausalLM(transformers.LlamaConfig(**_tiny_llama() | sizes)))
    model.save_pretrained(folder)
    return model


def mistral(folder: Path, **sizes: Any) -> Any:
    """The same block by another name."""
    torch.manual_seed(0)
    config = transformers.MistralConfig(**_tiny_llama() | {"sliding_window": None} | sizes)
    model = shaken(transformers.MistralForCausalLM(config))
    model.save_pretrained(folder)
    return model


def _tiny_llama() -> dict[str, Any]:
    return {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "pad_token_id": None,
        "tie_word_embeddings": False,
    }
