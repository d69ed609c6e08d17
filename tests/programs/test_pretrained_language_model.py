"""A language model and an encoder from folders of Transformers, joined, trained, saved and asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import sightweave
from sightweave.core.batch import TokenSequence
from sightweave.core.errors import CheckpointError, RecipeError
from sightweave.core.transformers_folder import read_tensors

pytest.importorskip("transformers")
import transformers
from parity import _checkpoints

PICTURE = np.full((40, 50, 3), 90, np.uint8)


@pytest.fixture(params=["byte_level", "byte_fallback"])
def folders(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    _checkpoints.siglip(tmp_path / "siglip")
    tokenizer = getattr(_checkpoints, request.param)(tmp_path / "llama")
    _checkpoints.llama(tmp_path / "llama", vocab_size=len(tokenizer))
    return str(tmp_path / "siglip"), str(tmp_path / "llama")


def test_two_folders_are_all_that_a_recipe_needs(folders: tuple[str, str], tmp_path: Path) -> None:
    encoder, language_model = folders
    recipe = {
        "data": [{"kind": "scenes", "size": 12}],
        "model": {"encoder": encoder, "language_model": language_model},
        "train": {
            "device": "cpu",
            "precision": "fp32",
            "stages": [{"steps": 3, "batch_size": 2, "parts": ["connector"]}],
        },
    }
    run = sightweave.train(recipe, out=tmp_path / "run", evaluate=False)
    assert run.recipe.model.fusion.bidirectional == "none"
    assert run.model.connector.factor == 2
    there = read_tensors(language_model)
    table = run.model.language_model.token_embedding.table.weight
    rows = len(there["model.embed_tokens.weight"])
    assert table[:rows].equal(there["model.embed_tokens.weight"])
    assert len(table) == run.processor.tokenizer.vocab_size > rows
    assert len(table) % 64 == 0
    before = run.generate(PICTURE, "what is it ?", max_tokens=8)
    shutil.rmtree(language_model)
    again = sightweave.load(tmp_path / "run", device="cpu")
    after = again.generate(PICTURE, "what is it ?", max_tokens=8)
    assert (after.text, after.logprob) == (before.text, before.logprob)


def test_composed_in_python_and_trained_from_there(folders: tuple[str, str], tmp_path: Path) -> None:
    run = sightweave.compose(*folders, fusion="cross_attention", connector="linear", device="cpu")
    assert run.generate(PICTURE, "what is it ?", max_tokens=4).tokens
    run.save(tmp_path / "start")
    recipe = {
        **run.recipe.to_plain(),
        "init_from": str(tmp_path / "start"),
        "data": [{"kind": "scenes", "size": 12}],
        "train": {"device": "cpu", "stages": [{"steps": 2, "batch_size": 2}]},
    }
    trained = sightweave.train(recipe, out=tmp_path / "run", evaluate=False)
    assert trained.processor.tokenizer.template == run.processor.tokenizer.template


def test_new_tokens_start_like_the_others(folders: tuple[str, str]) -> None:
    run = sightweave.compose(*folders, device="cpu")
    table = run.model.language_model.token_embedding.table.weight
    old = read_tensors(folders[1])["model.embed_tokens.weight"]
    new = table[len(old) :]
    assert len(new.unique(dim=0)) == len(new)
    assert (new - old.mean(0)).norm(dim=1).max() < 0.5 * (old - old.mean(0)).norm(dim=1).mean()


def test_a_seed_gives_the_same_new_rows(folders: tuple[str, str]) -> None:
    one, two, other = (sightweave.compose(*folders, device="cpu", seed=seed) for seed in (3, 3, 4))
    tables = [run.model.language_model.token_embedding.table.weight for run in (one, two, other)]
    assert tables[0].equal(tables[1])
    assert not tables[0].equal(tables[2])


def test_a_folder_without_a_tokenizer_is_refused(folders: tuple[str, str]) -> None:
    (Path(folders[1]) / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: file not found\. Run hf download"):
        sightweave.compose(*folders)


def test_a_damaged_tokenizer_is_refused(folders: tuple[str, str]) -> None:
    file = Path(folders[1]) / "tokenizer.json"
    file.write_text(file.read_text()[:-300])
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a tokenizer"):
        sightweave.compose(*folders)


def test_no_connector_joins_a_grid_that_it_cannot_halve(folders: tuple[str, str]) -> None:
    with pytest.raises(RecipeError, match="pixel_shuffle factor 3 does not divide the grid 4 x 4"):
        sightweave.compose(*folders, connector={"kind": "pixel_shuffle", "factor": 3})


@torch.no_grad()
def test_without_pictures_it_says_what_the_language_model_says(folders: tuple[str, str]) -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folders[1]).eval()
    run = sightweave.compose(*folders, device="cpu")
    ids = torch.tensor([run.processor.tokenizer.encode("the red dog is left of the blue car")])
    zeros = torch.zeros_like(ids)
    positions = torch.arange(ids.shape[1])[None]
    tokens = TokenSequence(
        ids, zeros - 100, positions, zeros - 1, zeros + 1, zeros, zeros, zeros == 0, plain=True
    )
    language_model = run.model.language_model
    ours = language_model.head(language_model.run(language_model.embed(ids), tokens).flatten(0, 1))
    expected = theirs(ids).logits[0]
    torch.testing.assert_close(ours[:, : expected.shape[1]], expected, atol=1e-5, rtol=1e-5)
