"""Parts named on the hub: read when a model is built, and never before or after."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import sightweave
from sightweave import recipe as recipes
from sightweave.comparison import compare as comparison
from sightweave.core.errors import RecipeError

pytest.importorskip("transformers")
from huggingface_hub import constants
from parity import _checkpoints

ENCODER, LANGUAGE_MODEL, OTHER = "someorg/tiny-siglip", "someorg/tiny-llama", "someorg/tiny-convnext"


def recipe(**parts: Any) -> dict[str, Any]:
    return {
        "data": [{"kind": "scenes", "size": 8, "tasks": ["vqa"]}],
        "model": {"encoder": ENCODER, "language_model": LANGUAGE_MODEL, **parts},
        "train": {
            "device": "cpu",
            "precision": "fp32",
            "check": False,
            "stages": [{"steps": 1, "batch_size": 2, "parts": ["connector"]}],
        },
        "evaluate": {"max_images": 2, "controls": [], "max_tokens": 4, "splits": ["scenes"]},
    }


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub that holds two checkpoints."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    for name in (ENCODER, LANGUAGE_MODEL, OTHER):
        there = cache / f"models--{name.replace('/', '--')}"
        folder = there / "snapshots" / "0123abc"
        folder.mkdir(parents=True)
        (there / "refs").mkdir()
        (there / "refs" / "main").write_text("0123abc")
        if name == ENCODER:
            _checkpoints.siglip(folder)
        elif name == OTHER:
            _convnext(folder)
        else:
            tokenizer = _checkpoints.byte_level(folder)
            _checkpoints.llama(folder, vocab_size=len(tokenizer), tie_word_embeddings=True)
    return cache


def _convnext(folder: Path) -> None:
    from transformers import ConvNextConfig, ConvNextImageProcessor, ConvNextModel

    sizes = {"num_stages": 2, "hidden_sizes": [8, 16], "depths": [1, 1], "image_size": 32}
    ConvNextModel(ConvNextConfig(**sizes)).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(folder)


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"encoder": {"kind": ENCODER, "image_size": 64}},
        {"encoder": {"kind": "from_transformers", "folder": OTHER}, "connector": "mlp"},
        {"encoder": {"kind": "from_timm", "folder": OTHER}, "connector": "mlp"},
        {"language_model": {"kind": "from_transformers", "folder": LANGUAGE_MODEL}, "fusion": "concat"},
    ],
)
def test_reading_asks_nobody(parts: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(**parts)))
    code = (
        "import sys, sightweave\n"
        "read = sightweave.read_recipe(sys.argv[1], ['seed=3'])\n"
        "assert sightweave.read_recipe(read) == read\n"
        "open(sys.argv[1], 'w').write(read.to_yaml())\n"
        "assert sightweave.read_recipe(sys.argv[1]) == read\n"
        "print(read.model.hub_names, 'huggingface_hub' in sys.modules)\n"
    )
    source = str(Path(sightweave.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": source}
    said = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("('someorg/")
    assert said.endswith("False\n")


def test_a_cache_of_pictures_needs_no_language_model(hub: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "a.png")
    (tmp_path / "data.jsonl").write_text('{"image": "a.png", "caption": "red", "split": "train"}\n')
    asked = recipe(language_model="someorg/is-not-there") | {"data": str(tmp_path)}
    assert sightweave.cache_data(asked, out=tmp_path / "cache").pictures == 1
    # It is the cache of the same pixels that training asks for.
    run = sightweave.build(recipe() | {"data": str(tmp_path), "inputs": {"cache": str(tmp_path / "cache")}})
    assert run.processor.cache is not None


def test_building_reads_them_and_the_run_needs_them_no_more(hub: Path, tmp_path: Path) -> None:
    asked = recipes.read(recipe())
    run = sightweave.train(asked, out=tmp_path / "run")
    saved = recipes.read(tmp_path / "run" / "recipe.yaml")
    assert saved == run.recipe == asked.resolved()
    assert saved.model.hub_names == ()
    assert saved.model.pretrained == {"encoder": ENCODER, "language_model": LANGUAGE_MODEL}
    assert type(saved.model.connector).__module__.endswith("pixel_shuffle")
    before = asked.to_plain()
    shutil.rmtree(hub)
    assert sightweave.load(tmp_path / "run", device="cpu").recipe == saved
    assert sightweave.evaluate(tmp_path / "run", max_images=1, out=tmp_path / "scored")[0].tasks
    assert sightweave.report(tmp_path / "run").is_file()
    assert asked.to_plain() == before  # reading a name changes no recipe
    # A comparison knows the run again by what was asked.
    assert comparison._state(tmp_path / "run", asked) == "done"
    other = recipes.read(recipe(encoder={"kind": ENCODER, "image_size": 64}))
    assert comparison._state(tmp_path / "run", other) == "new"


@pytest.mark.parametrize(
    "parts",
    [
        {"encoder": OTHER},
        {"encoder": {"kind": "from_transformers", "folder": OTHER}, "connector": "mlp"},
        {"language_model": {"kind": "from_transformers", "folder": LANGUAGE_MODEL}, "fusion": "concat"},
    ],
)
def test_parts_that_transformers_runs_are_resolved_too(
    parts: dict[str, Any], hub: Path, tmp_path: Path
) -> None:
    asked = recipes.read(recipe(**parts))
    assert asked.model.hub_names
    read = asked.resolved()
    assert read.model.hub_names == ()
    assert recipes.read(read.to_plain()) == read
    read.check()
    shutil.rmtree(hub)
    with pytest.raises(
        (RecipeError, sightweave.SightweaveError),
        match=": folder not found, and it could not be downloaded from the",
    ):
        asked.check()
    read.check()


def test_mistakes_are_told_when_the_name_is_read(hub: Path) -> None:
    wrong = recipes.read(recipe(encoder={"kind": ENCODER, "dept": 2}))
    with pytest.raises(RecipeError, match=r"model\.encoder\.dept: unknown key .* Did you mean 'depth'"):
        wrong.resolved()
    with pytest.raises(
        RecipeError, match=r"someorg/nothing: folder not found, and it could not be downloaded from the Hub"
    ):
        sightweave.build(recipe(encoder="someorg/nothing"))
    with pytest.raises(RecipeError, match=r": not read from the Hub yet; build recipe\.resolved\(\)"):
        recipes.read(recipe()).model.build(vocab_size=9)


def test_a_connector_may_be_left_out_beside_a_pretrained_encoder_only() -> None:
    values = recipe(encoder="cnn")
    with pytest.raises(RecipeError, match=r"model\.connector: missing"):
        recipes.read(values)
    values["model"]["connector"] = None
    with pytest.raises(RecipeError, match=r"connector: needs a kind"):
        recipes.read(values)
