"""Against Transformers, with tiny random weights copied over: the same numbers from independent code."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sightweave.core.batch import Features, TokenSequence
from sightweave.core.cache import Cache
from sightweave.models.connectors import pixel_shuffle
from sightweave.models.encoders import vit
from sightweave.models.language_models import decoder_only

transformers = pytest.importorskip("transformers")
VOCABULARY = 50


def plain(ids: torch.Tensor) -> TokenSequence:
    zeros = torch.zeros_like(ids)
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return TokenSequence(
        ids, zeros - 100, positions, zeros - 1, zeros + 1, zeros, zeros, zeros == 0, plain=True
    )


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
def test_the_decoder_is_llama(tied: bool, base: float) -> None:
    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": base},
            tie_word_embeddings=tied,
            pad_token_id=None,
        )
    ).eval()
    ours = decoder_only.Config(
        dim=32,
        depth=3,
        num_heads=4,
        num_kv_heads=2,
        hidden_dim=48,
        norm_eps=1e-5,
        rope_base=base,
        tie_embeddings=tied,
    ).build(vocab_size=VOCABULARY)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.2)
    copy_llama(theirs, ours)
    ids = torch.randint(0, VOCABULARY, (2, 11))
    expected = theirs(ids).logits
    tokens = plain(ids)
    hidden = ours.run(ours.embed(ids), tokens)
    found = ours.head(hidden.flatten(0, 1)).unflatten(0, (2, 11))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    # and token by token, with grouped heads in the cache
    cache = Cache(2, capacity=4)
    steps = []
    for step in range(11):
        one = plain(ids[:, step : step + 1])
        one.positions = one.positions + step
        steps.append(ours.head(ours.run(ours.embed(one.ids), one, cache=cache)[:, 0]))
    torch.testing.assert_close(torch.stack(steps, 1), expected, atol=1e-5, rtol=1e-5)


def copy_llama(theirs: nn.Module, ours: decoder_only.DecoderOnly) -> None:
    copied = {
        "token_embedding.table.weight": theirs.model.embed_tokens.weight,
        "norm.weight": theirs.model.norm.weight,
    }
    if ours.output is not None:
        copied["output.weight"] = theirs.lm_head.weight
    for index, layer in enumerate(theirs.model.layers):
        pairs = {
            "attention_norm": layer.input_layernorm,
            "attention.q": layer.self_attn.q_proj,
            "attention.k": layer.self_attn.k_proj,
            "attention.v": layer.self_attn.v_proj,
            "attention.out": layer.self_attn.o_proj,
            "feed_forward_norm": layer.post_attention_layernorm,
            "feed_forward.gate": layer.mlp.gate_proj,
            "feed_forward.up": layer.mlp.up_proj,
            "feed_forward.down": layer.mlp.down_proj,
        }
        copied |= {f"blocks.{index}.{name}.weight": module.weight for name, module in pairs.items()}
    ours.load_state_dict({name: value.detach() for name, value in copied.items()}, strict=True)


@pytest.mark.parametrize("patch_size", [8, 16])
def test_the_vit_is_siglips(patch_size: int) -> None:
    torch.manual_seed(0)
    theirs = transformers.SiglipVisionModel(
        transformers.SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=32,
            patch_size=patch_size,
            hidden_act="gelu_pytorch_tanh",
            layer_norm_eps=1e-6,
            vision_use_head=False,
        )
    ).eval()
    ours = vit.Config(
        image_size=32, patch_size=patch_size, dim=32, depth=2, num_heads=4, hidden_dim=64
    ).build()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.2)
    names = {
        "embeddings.patch_embedding": "stem",
        "embeddings.position_embedding.weight": "place_table",
        "encoder.layers": "blocks",
        "layer_norm1": "attention_norm",
        "layer_norm2": "feed_forward_norm",
        "self_attn.q_proj": "attention.q",
        "self_attn.k_proj": "attention.k",
        "self_attn.v_proj": "attention.v",
        "self_attn.out_proj": "attention.out",
        "mlp.fc1": "feed_forward.up",
        "mlp.fc2": "feed_forward.down",
        "post_layernorm": "norm",
    }
    copied = {}
    for name, value in theirs.state_dict().items():
        renamed = name.removeprefix("vision_model.")
        for old, new in names.items():
            renamed = renamed.replace(old, new)
        copied[renamed] = value
    copied.pop("embeddings.position_ids", None)
    ours.load_state_dict(copied, strict=True)
    pixels = torch.randn(3, 3, 32, 32)
    expected = theirs(pixels).last_hidden_state
    found = ours(pixels)
    assert found.values.shape[1] == found.grid[1] * found.grid[2]
    torch.testing.assert_close(found.values, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("side", "factor"), [(4, 2), (6, 3), (8, 4)])
def test_pixel_shuffle_is_idefics3s(side: int, factor: int) -> None:
    torch.manual_seed(0)
    from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector

    config = transformers.Idefics3Config(
        vision_config={
            "hidden_size": 8,
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "intermediate_size": 8,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": 12,
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "intermediate_size": 8,
            "vocab_size": 10,
            "pad_token_id": 0,
        },
        scale_factor=factor,
    )
    theirs = Idefics3Connector(config).eval()
    grid = (1, side, side)
    ours = pixel_shuffle.Config(factor=factor).build(in_dim=8, out_dim=12, grid=grid)
    (weight,) = theirs.state_dict().values()
    ours.projection.weight.data.copy_(weight)
    values = torch.randn(2, side * side, 8)
    expected = theirs(values)
    torch.testing.assert_close(ours(Features(values, grid)), expected, atol=1e-5, rtol=1e-5)
