"""An encoder from a folder of Transformers, joined to a language model, trained, and loaded without that folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sightweave
from sightweave import recipe as recipes
from sightweave.core.errors import CheckpointError, RecipeError
from sightweave.core.transformers_folder import read_tensors

pytest.importorskip("transformers")
from parity import _checkpoints
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil


def recipe(encoder: Any, parts: list[str]) -> dict[str, Any]:
    return {
        "data": [{"kind": "scenes", "size": 12}],
        "model": {
            "encoder": encoder,
            "connector": {"kind": "pixel_shuffle", "factor": 2},
            "fusion": "concat",
            "language_model": {"kind": "decoder_only", "dim": 32, "depth": 1, "num_heads": 2},
        },
        "train": {
            "device": "cpu",
            "precision": "fp32",
            "stages": [{"steps": 3, "batch_size": 2, "parts": parts}],
        },
        "inputs": {"vocab_size": 400},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _checkpoints.siglip(tmp_path / "siglip")
    return tmp_path / "siglip"


def test_a_frozen_encoder_stays_what_the_folder_holds(folder: Path, tmp_path: Path) -> None:
    run = sightweave.train(
        recipe(str(folder), ["connector", "language_model"]), out=tmp_path / "run", evaluate=False
    )
    there = read_tensors(folder)
    assert run.model.encoder.stem.weight.equal(there["embeddings.patch_embedding.weight"])
    assert run.model.encoder.norm.bias.equal(there["post_layernorm.bias"])
    before = run.generate(np.full((40, 50, 3), 90, np.uint8), "what is it ?", max_tokens=8)
    shutil.rmtree(folder)
    again = sightweave.load(tmp_path / "run", device="cpu")
    after = again.generate(np.full((40, 50, 3), 90, np.uint8), "what is it ?", max_tokens=8)
    assert (after.text, after.logprob) == (before.text, before.logprob)
    assert again.recipe == run.recipe
    assert again.recipe.model.pretrained == {"encoder": str(folder)}


def test_a_trained_encoder_moves_away_from_it(folder: Path, tmp_path: Path) -> None:
    run = sightweave.train(
        recipe(str(folder), ["encoder", "connector", "language_model"]), out=tmp_path / "run", evaluate=False
    )
    there = read_tensors(folder)["embeddings.patch_embedding.weight"]
    assert not run.model.encoder.stem.weight.equal(there)


def test_pixels_are_those_of_the_folders_processor(folder: Path) -> None:
    run = sightweave.build(recipe(str(folder), ["connector"]))
    pixels = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    expected = SiglipImageProcessorPil.from_pretrained(folder)(Image.fromarray(pixels), return_tensors="pt")
    torch.testing.assert_close(
        run.processor.transform.build()(pixels), expected["pixel_values"][0], atol=1e-6, rtol=0
    )


def test_another_size_of_picture_resizes_the_places(folder: Path) -> None:
    run = sightweave.build(recipe({"kind": str(folder), "image_size": 64}, ["connector"]))
    assert run.model.encoder.place_table.shape == (64, 32)
    assert run.processor.transform.size == 64
    assert run.processor.layout.tokens_per_image == 16


def test_the_resolved_recipe_loads_back_equal(folder: Path) -> None:
    read = recipes.read(recipe(str(folder), ["connector"]))
    assert recipes.read(read.to_plain()) == read
    assert read.model.encoder.patch_size == 8


def test_a_folder_that_is_not_there_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(
        RecipeError, match=r"encoder: google/siglip2-base: folder not found, and .* hf download"
    ) as caught:
        sightweave.build(recipe("google/siglip2-base", ["connector"]))
    assert "decoder_only" not in str(caught.value)


def test_a_folder_without_an_image_processor_is_refused(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no preprocessor_config\.json"):
        sightweave.build(recipe(str(folder), ["connector"]))
