"""Parts that load through other libraries, by the names of their folders: joined, trained, saved, asked, checked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightweave

pytest.importorskip("transformers")
import transformers
from parity import _checkpoints

PICTURE = np.full((40, 50, 3), 90, np.uint8)


def convnext(folder: Path) -> str:
    config = transformers.ConvNextConfig(
        hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], image_size=64, patch_size=4
    )
    transformers.ConvNextModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
    ).save_pretrained(folder)
    return str(folder)


def gpt2(folder: Path) -> str:
    words = _checkpoints.byte_level(folder, chat=False)
    config = transformers.GPT2Config(vocab_size=len(words), n_embd=32, n_layer=2, n_head=4)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return str(folder)


def mbart(folder: Path) -> str:
    words = _checkpoints.unigram(folder)
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {"layers": 1, "attention_heads": 4, "ffn_dim": 48}.items()
    }
    config = transformers.MBartConfig(
        vocab_size=len(words),
        d_model=32,
        max_position_embeddings=512,
        decoder_start_token_id=1,
        eos_token_id=1,
        pad_token_id=0,
        forced_eos_token_id=1,
        **sides,
    )
    transformers.MBartForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)


def bert(folder: Path) -> str:
    words = _checkpoints.word_pieces(folder)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=4,
        num_hidden_layers=1,
        max_position_embeddings=512,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


JOINED = {
    "gpt2, concat": (gpt2, None),
    "gpt2, cross_attention": (gpt2, "cross_attention"),
    "mbart, memory": (mbart, "memory"),
    "bert, bilinear": (bert, "bilinear"),
}


@pytest.mark.parametrize("name", JOINED)
def test_joined_trained_saved_and_asked_without_the_folders(name: str, tmp_path: Path) -> None:
    write, fusion = JOINED[name]
    encoder, language_model = convnext(tmp_path / "eyes"), write(tmp_path / "words")
    model: dict[str, Any] = {"encoder": {"kind": encoder, "image_size": 64}, "language_model": language_model}
    recipe = {
        "data": [{"kind": "scenes", "size": 12}],
        "model": model | ({"fusion": fusion} if fusion else {}),
        "train": {
            "device": "cpu",
            "precision": "fp32",
            "stages": [{"steps": 2, "batch_size": 2}],
        },
    }
    run = sightweave.train(recipe, out=tmp_path / "run", evaluate=False)
    assert type(run.model.encoder).__module__.endswith("encoders.from_transformers")
    assert type(run.model.language_model).__module__.endswith("language_models.from_transformers")
    assert {one.finding.state for one in sightweave.check(run)} <= {"pass", "skip"}
    before = run.generate(PICTURE, "what is it ?", max_tokens=6)
    shutil.rmtree(encoder)
    shutil.rmtree(language_model)
    again = sightweave.load(tmp_path / "run", device="cpu")
    after = again.generate(PICTURE, "what is it ?", max_tokens=6)
    assert (after.text, after.logprob) == (before.text, before.logprob)


def test_a_native_family_with_settings_that_are_not_built_is_adapted(tmp_path: Path) -> None:
    words = _checkpoints.byte_level(tmp_path / "llama")
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
    _checkpoints.llama(tmp_path / "llama", vocab_size=len(words), rope_parameters=scaled)
    _checkpoints.siglip(tmp_path / "siglip")
    run = sightweave.compose(str(tmp_path / "siglip"), str(tmp_path / "llama"), device="cpu")
    assert run.recipe.model.language_model.config["rope_parameters"]["rope_type"] == "linear"
    assert run.recipe.model.pretrained.keys() == {"encoder", "language_model"}
    assert run.generate(PICTURE, "what is it ?", max_tokens=4).tokens
