"""Tables of names: read both ways, and whatever does not fit is named with its count."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sightweave.core import catalog
from sightweave.core.errors import CheckpointError
from sightweave.models.encoders import vit
from sightweave.models.keymaps import _base as keymaps
from sightweave.models.language_models import decoder_only, encoder_decoder

SIGLIP = catalog.module("models.keymaps", "siglip").KEYMAP
LLAMA = catalog.module("models.keymaps", "llama").KEYMAP
VISION = {
    "model_type": "siglip_vision_model",
    "image_size": 16,
    "patch_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
TEXT = {
    "model_type": "llama",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
T5 = {"model_type": "t5", "d_model": 16, "d_kv": 6, "d_ff": 24, "num_heads": 2, "num_layers": 1}


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return vit.Config(image_size=16, patch_size=8, dim=16, depth=2, num_heads=2, hidden_dim=24).build()


def write(folder: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if tensors is not None:
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "model.safetensors")


TABLES = {
    kind: getattr(module, "KEYMAP", None) or module.WHOLE.connector
    for kind in catalog.kinds("models.keymaps")
    for module in [catalog.module("models.keymaps", kind)]
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_table_names_each_of_both_sides_once(kind: str) -> None:
    keymap = TABLES[kind]
    assert len(set(keymap.names.values())) == len(keymap.names)
    assert keymap.kind in catalog.kinds(f"models.{keymap.part}s")
    numbers = re.compile(r"{\w}")
    assert all(numbers.findall(ours) == numbers.findall(theirs) for ours, theirs in keymap.names.items())


def test_there_and_back() -> None:
    own = encoder().state_dict()
    theirs = SIGLIP.theirs(own)
    assert "vision_model.encoder.layers.1.self_attn.out_proj.bias" in theirs
    back, unknown = SIGLIP.ours(theirs)
    assert unknown == []
    assert back.keys() == own.keys()
    assert all(back[name] is value for name, value in own.items())


def test_a_weight_without_a_line_in_the_table() -> None:
    with pytest.raises(
        CheckpointError, match=r"blocks\.0\.attention\.q_norm\.weight: the llama family has no such weight"
    ):
        LLAMA.theirs({"blocks.0.attention.q_norm.weight": torch.ones(1)})


def test_a_name_with_several_numbers_goes_there_and_back() -> None:
    keymap = catalog.module("models.keymaps", "resnet").KEYMAP
    names = ["stages.3.12.convolutions.0.weight", "stages.0.1.norms.2.running_var", "stem_norm.bias"]
    theirs = keymap.theirs({name: torch.ones(1) for name in names})
    assert list(theirs) == [
        "encoder.stages.3.layers.12.layer.0.convolution.weight",
        "encoder.stages.0.layers.1.layer.2.normalization.running_var",
        "embedder.embedder.normalization.bias",
    ]
    back, unknown = keymap.ours({"resnet." + name: value for name, value in theirs.items()})
    assert (list(back), unknown) == (names, [])


def test_weights_are_loaded(tmp_path: Path) -> None:
    source, target = encoder(), encoder()
    nn.init.normal_(target.get_parameter("norm.weight"))
    write(tmp_path, VISION, SIGLIP.theirs(source.state_dict()))
    keymaps.load_into(target, tmp_path, "encoder")
    assert all(target.state_dict()[name].equal(value) for name, value in source.state_dict().items())


def test_missing_and_extra_weights_are_counted_and_named(tmp_path: Path) -> None:
    own = encoder()
    tensors = SIGLIP.theirs(own.state_dict())
    for number in range(4):
        tensors[f"vision_model.adapter.{number}"] = torch.ones(1)
    del tensors["vision_model.post_layernorm.weight"]
    tensors["vision_model.post_layernorm.bias"] = torch.ones(3)
    write(tmp_path, VISION, tensors)
    before = {name: value.clone() for name, value in own.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"1 with a different shape, 1 missing, 4 unexpected") as caught:
        keymaps.load_into(own, tmp_path, "encoder")
    assert "norm.bias: (3,) in the file, (16,) in the model" in str(caught.value)
    assert "vision_model.adapter.3" in str(caught.value)
    assert all(own.state_dict()[name].equal(value) for name, value in before.items())


def test_a_head_that_is_the_table_under_a_second_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = decoder_only.Config(dim=16, depth=1, num_heads=2, hidden_dim=24).build(vocab_size=10)
    tensors = LLAMA.theirs(own.state_dict())
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    write(tmp_path, TEXT | {"tie_word_embeddings": True}, tensors)
    keymaps.load_into(own, tmp_path, "language_model")
    tensors["lm_head.weight"] = tensors["lm_head.weight"] + 1
    write(tmp_path, TEXT | {"tie_word_embeddings": True}, tensors)
    with pytest.raises(CheckpointError, match=r"1 unexpected"):
        keymaps.load_into(own, tmp_path, "language_model")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but only 'silu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"sliding_window": 4096}, "sliding_window is 4096"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type is 'linear'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}}, "rope_type is 'llama3'"),
        ({"hidden_size": None}, None),
    ],
)
def test_what_ours_would_not_compute_is_refused(
    tmp_path: Path, change: dict[str, Any], fault: str | None
) -> None:
    config = TEXT | change
    if fault is None:
        del config["hidden_size"]
        fault = "config.json has no 'hidden_size'"
    write(tmp_path, config)
    with pytest.raises(CheckpointError, match=fault):
        keymaps.read(tmp_path, "language_model")


@pytest.mark.parametrize(
    "change",
    [
        {"feed_forward_proj": "gated-relu"},
        {"feed_forward_proj": "gelu"},
        {"relative_attention_num_buckets": 16},
        {"relative_attention_max_distance": 64},
    ],
    ids=str,
)
def test_what_our_encoder_decoder_would_not_compute_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    write(tmp_path, T5 | change)
    with pytest.raises(CheckpointError, match=next(iter(change))):
        keymaps.read(tmp_path, "language_model")


@pytest.mark.parametrize(
    ("told", "form", "is_scaled"),
    [
        ({}, "relu", True),
        ({"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, "geglu", False),
        ({"feed_forward_proj": "gated-gelu", "scale_decoder_outputs": False}, "geglu", False),
        ({"model_type": "mt5"}, "geglu", False),
        ({"model_type": "mt5", "tie_word_embeddings": False}, "geglu", False),
    ],
    ids=str,
)
def test_each_release_of_t5_is_told_from_the_others(
    tmp_path: Path, told: dict[str, Any], form: str, is_scaled: bool
) -> None:
    write(tmp_path, T5 | told)
    found = keymaps.read(tmp_path, "language_model")
    assert (found["feed_forward"], found["scale_head"], found["tie_embeddings"]) == (
        form,
        is_scaled,
        is_scaled,
    )
    gate = "encoder_blocks.{n}.feed_forward.gate"
    assert (gate in keymaps.find(T5 | told, "language_model", where="here").keymap.names) == (form != "relu")


def test_a_head_that_the_folder_ties_is_the_table_and_a_missing_table_is_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = T5 | {"feed_forward_proj": "gated-gelu", "scale_decoder_outputs": False}
    write(tmp_path, config | {"tie_word_embeddings": True})
    fields = keymaps.read(tmp_path, "language_model")
    own = encoder_decoder.Config(**{k: v for k, v in fields.items() if k != "kind"}).build(vocab_size=10)
    keymap = keymaps.find(config, "language_model", where="here").keymap
    tensors = keymap.theirs(own.state_dict())
    del tensors["lm_head.weight"]
    write(tmp_path, config | {"tie_word_embeddings": True}, tensors)
    keymaps.load_into(own, tmp_path, "language_model")
    assert own.output.weight.equal(own.token_embedding.table.weight)
    write(tmp_path, config | {"tie_word_embeddings": False}, tensors)
    with pytest.raises(CheckpointError, match=r"output\.weight: missing"):
        keymaps.load_into(own, tmp_path, "language_model")
    del tensors["shared.weight"]
    write(tmp_path, config | {"tie_word_embeddings": True}, tensors)
    with pytest.raises(CheckpointError, match=r"token_embedding\.table\.weight: missing"):
        keymaps.load_into(own, tmp_path, "language_model")


@pytest.mark.parametrize(
    "change", [{"hidden_act": "gelu"}, {"num_channels": 1}, {"downsample_in_bottleneck": True}]
)
def test_what_our_resnet_would_not_compute_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path, {"model_type": "resnet"} | change)
    with pytest.raises(CheckpointError, match=next(iter(change))):
        keymaps.read(tmp_path, "encoder")


@pytest.mark.parametrize("change", [{"hidden_act": "mish"}, {"num_channels": 1}])
def test_what_our_encoder_would_not_compute_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path, VISION | change)
    with pytest.raises(CheckpointError, match=next(iter(change))):
        keymaps.read(tmp_path, "encoder")


def test_both_ways_to_write_the_base_of_rotation(tmp_path: Path) -> None:
    write(tmp_path, TEXT | {"rope_theta": 123.0})
    assert keymaps.read(tmp_path, "language_model")["rope_base"] == 123.0
    write(tmp_path, TEXT | {"rope_parameters": {"rope_type": "default", "rope_theta": 321.0}})
    assert keymaps.read(tmp_path, "language_model")["rope_base"] == 321.0


def test_another_family_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    write(tmp_path, VISION)
    with pytest.raises(
        CheckpointError, match=r"'siglip_vision_model' cannot be loaded as language_model.*llama"
    ):
        keymaps.read(tmp_path, "language_model")
