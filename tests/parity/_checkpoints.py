"""Folders of tiny random checkpoints, written by Transformers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, trainers
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

SIGLIP_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
"""Published widths of google/siglip2-base-patch16-224."""
CLIP_BASE = SIGLIP_BASE
"""Published widths of openai/clip-vit-base-patch16, google/vit-base-patch16-224 and facebook/dinov2-base."""
DINOV2_BASE = {"hidden_size": 768, "num_attention_heads": 12, "mlp_ratio": 4}
"""The same in DINOv2's words."""
PATCHES = {"image_size": 224, "patch_size": 16}
RESNET_50 = {"embedding_size": 64, "hidden_sizes": [256, 512, 1024, 2048], "depths": [1, 1, 1, 1]}
"""Published widths of microsoft/resnet-50; random layers each double what goes through them, so one in each stage."""
QWEN25_05B = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}
"""Published widths of Qwen/Qwen2.5-0.5B."""
QWEN3_06B = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}
"""Published widths of Qwen/Qwen3-0.6B."""
T5_SMALL = {"vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_heads": 8}
"""Published widths of google-t5/t5-small."""
MT5_SMALL = {"vocab_size": 2000, "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_heads": 6}
"""Published widths of google/mt5-small, whose heads are not as wide together as the model; fewer than its 250,112 tokens."""
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
    config = transformers.SiglipVisionConfig(num_hidden_layers=2, **(_tiny_vision() | sizes))
    model = shaken(transformers.SiglipVisionModel(config))
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


def clip(folder: Path, **sizes: Any) -> Any:
    """An image encoder with a class token and a norm before its blocks."""
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(num_hidden_layers=2, **(_tiny_vision() | sizes))
    model = shaken(transformers.CLIPVisionModel(config))
    model.save_pretrained(folder)
    side = config.image_size
    transformers.CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    ).save_pretrained(folder)
    return model


def vit(folder: Path, **sizes: Any) -> Any:
    """As it was published."""
    torch.manual_seed(0)
    model = shaken(
        transformers.ViTModel(transformers.ViTConfig(num_hidden_layers=2, **(_tiny_vision() | sizes)))
    )
    model.save_pretrained(folder)
    return model


def vit_classifier(folder: Path) -> Any:
    """The encoder under its name in a classifier."""
    torch.manual_seed(0)
    model = shaken(
        transformers.ViTForImageClassification(transformers.ViTConfig(num_hidden_layers=2, **_tiny_vision()))
    )
    model.save_pretrained(folder)
    return model.vit


def dinov2(folder: Path, **sizes: Any) -> Any:
    """With layer scale."""
    torch.manual_seed(0)
    tiny = {name: value for name, value in _tiny_vision().items() if name != "intermediate_size"}
    config = transformers.Dinov2Config(num_hidden_layers=2, **(tiny | {"mlp_ratio": 2} | sizes))
    model = shaken(transformers.Dinov2Model(config))
    model.save_pretrained(folder)
    return model


def resnet(folder: Path, **sizes: Any) -> Any:
    """Bottlenecks, with statistics of batch norms that say something."""
    return _resnet(transformers.ResNetModel, folder, **sizes)


def resnet_basic(folder: Path) -> Any:
    """Two 3x3 convolutions a layer, and a first stage that halves the grid."""
    return resnet(folder, layer_type="basic", downsample_in_first_stage=True, hidden_sizes=[8, 16, 32])


def resnet_classifier(folder: Path) -> Any:
    """The encoder under its name in a classifier."""
    return _resnet(transformers.ResNetForImageClassification, folder).resnet


def _resnet(kind: Any, folder: Path, **sizes: Any) -> Any:
    torch.manual_seed(0)
    tiny = {"embedding_size": 8, "hidden_sizes": [16, 16, 32], "depths": [1, 2, 2]}
    model = shaken(kind(transformers.ResNetConfig(**tiny | sizes)))
    for name, statistic in model.named_buffers():
        if statistic.is_floating_point():
            positive = name.endswith("running_var")
            statistic.copy_(torch.rand_like(statistic) + 0.5 if positive else torch.randn_like(statistic) / 4)
    model.save_pretrained(folder)
    transformers.ConvNextImageProcessorPil(size={"shortest_edge": 224}, crop_pct=0.875).save_pretrained(
        folder
    )
    return model


def _tiny_vision() -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }


def qwen2(folder: Path, **sizes: Any) -> Any:
    """Llama's block with biases on queries, keys and values."""
    torch.manual_seed(0)
    model = shaken(transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_tiny_llama() | sizes)))
    model.save_pretrained(folder)
    return model


def qwen3(folder: Path, **sizes: Any) -> Any:
    """Llama's block with normalised queries and keys; heads wider than the model's width over their number."""
    torch.manual_seed(0)
    config = transformers.Qwen3Config(**_tiny_llama() | {"head_dim": 16} | sizes)
    model = shaken(transformers.Qwen3ForCausalLM(config))
    model.save_pretrained(folder)
    return model


def idefics3(folder: Path) -> Any:
    """A whole model, without a processor."""
    torch.manual_seed(0)
    config = transformers.Idefics3Config(
        text_config={"model_type": "llama", **_tiny_llama()},
        vision_config=_tiny_vision() | {"num_hidden_layers": 2},
        image_token_id=49,
        scale_factor=2,
        pad_token_id=0,
    )
    model = shaken(transformers.Idefics3ForConditionalGeneration(config))
    model.save_pretrained(folder)
    return model


def llava(folder: Path, vision: str = "clip_vision_model", layer: int = -2) -> Any:
    """A whole model, without a processor."""
    torch.manual_seed(0)
    config = transformers.LlavaConfig(
        text_config={"model_type": "qwen2", **_tiny_llama()},
        vision_config=_tiny_vision() | {"model_type": vision, "num_hidden_layers": 3},
        image_token_index=49,
        vision_feature_layer=layer,
        vision_feature_select_strategy="default" if vision == "clip_vision_model" else "full",
    )
    model = shaken(transformers.LlavaForConditionalGeneration(config))
    model.save_pretrained(folder)
    return model


def llama(folder: Path, **sizes: Any) -> Any:
    """A language model without a tokenizer."""
    torch.manual_seed(0)
    model = shaken(transformers.LlamaForCausalLM(transformers.LlamaConfig(**_tiny_llama() | sizes)))
    model.save_pretrained(folder)
    return model


def t5(folder: Path, **sizes: Any) -> Any:
    """An encoder-decoder without a tokenizer; its head is the table of embeddings, as it was first."""
    return _t5(transformers.T5ForConditionalGeneration, transformers.T5Config, folder, **sizes)


def t5_gated(folder: Path, **sizes: Any) -> Any:
    """T5 1.1: gated GELU, a head of its own, and nothing scaled."""
    told = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} | sizes
    return _t5(transformers.T5ForConditionalGeneration, transformers.T5Config, folder, has_head=True, **told)


def mt5(folder: Path, **sizes: Any) -> Any:
    """The same for many languages."""
    return _t5(
        transformers.MT5ForConditionalGeneration, transformers.MT5Config, folder, has_head=True, **sizes
    )


def mt5_tied(folder: Path) -> Any:
    """Made by Transformers 5, which ties the head, though nothing is scaled: small weights keep its logits small."""
    return _t5(
        transformers.MT5ForConditionalGeneration, transformers.MT5Config, folder, initializer_factor=0.25
    )


def _t5(kind: Any, config: Any, folder: Path, *, has_head: bool = False, **sizes: Any) -> Any:
    torch.manual_seed(0)
    tiny = {"vocab_size": 50, "d_model": 32, "d_kv": 6, "d_ff": 48, "num_heads": 4, "num_layers": 2}
    told = tiny | {"num_decoder_layers": 3, "decoder_start_token_id": 0} | sizes
    model = kind(config(**told))
    if has_head:  # Transformers 5 ties it, and keeps apart what a checkpoint holds apart
        model.lm_head.weight = torch.nn.Parameter(
            torch.randn_like(model.lm_head.weight) / told["d_model"] ** 0.5
        )
    shaken(model).save_pretrained(folder)
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


TEXTS = [
    "What is left of the red dog? It's a small blue car, 12 metres away.",
    "Der rote Hund sitzt links neben dem Auto.",
    "Le chien rouge est à côté de la voiture.",
    "红色的狗坐在车的左边。",
    "def f(x):\n    return x ** 2  # squared\n",
] * 20
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_level(folder: Path, *, chat: bool = True) -> Any:
    """A tokenizer in the way of GPT-2, Qwen and SmolLM2: nothing is put in front of a text."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = tokenizers.decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    made.add_tokens(["<tool_call>"])  # in the vocabulary, and not special, as Qwen has some
    return _wrapped(
        folder,
        made,
        eos_token="<|im_end|>" if chat else "<|endoftext|>",
        pad_token="<|im_end|>" if chat else "<|endoftext|>",
        chat_template=CHATML if chat else None,
    )


def byte_fallback(folder: Path) -> Any:
    """A tokenizer in the way of Llama 2: a mark for the space, bytes where no piece fits, a token at the start."""
    made = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    made.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("\u2581", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
            tokenizers.decoders.Strip(" ", 1, 0),
        ]
    )
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special,
        initial_alphabet=["\u2581"],
        show_progress=False,
        limit_alphabet=60,
    )
    made.train_from_iterator(TEXTS[:60], trainer)
    content = json.loads(made.to_str())
    vocabulary = content["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    made = tokenizers.Tokenizer.from_str(json.dumps(content))
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return _wrapped(folder, made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def unigram(folder: Path) -> Any:
    """A tokenizer in the way of T5: likeliest pieces, a token at the end."""
    made = tokenizers.Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = tokenizers.decoders.Metaspace(prepend_scheme="always")
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=180, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(TEXTS, trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return _wrapped(folder, made, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def word_pieces(folder: Path) -> Any:
    """A tokenizer in the way of BERT: words in small letters, and their ends."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return _wrapped(folder, made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")


def _wrapped(folder: Path, made: tokenizers.Tokenizer, **tokens: Any) -> Any:
    chat_template = tokens.pop("chat_template", None)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=made, **tokens)
    wrapped.chat_template = chat_template
    wrapped.save_pretrained(folder)
    return wrapped
