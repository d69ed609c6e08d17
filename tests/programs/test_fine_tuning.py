"""The recipes for pretrained parts, on tiny checkpoints that Transformers wrote: drawn scenes, and real photographs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import sightweave
from sightweave.core.transformers_folder import read_tensors

pytest.importorskip("transformers")
pytest.importorskip("peft")
import skimage.data
from parity import _checkpoints

RECIPES = Path(__file__).parents[2] / "recipes"
PHOTOGRAPHS = Path(skimage.data.__file__).parent


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("folders")
    _checkpoints.siglip(folder / "siglip")
    tokenizer = _checkpoints.byte_level(folder / "llama")
    _checkpoints.llama(folder / "llama", vocab_size=len(tokenizer), tie_word_embeddings=True)
    return {"encoder": str(folder / "siglip"), "language_model": str(folder / "llama")}


def recipe(name: str, folders: dict[str, str], data: Any, steps: int) -> dict[str, Any]:
    """As it is, but with other folders, fewer steps and fewer pictures."""
    values: dict[str, Any] = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    values["model"] |= folders
    values["data"] = data
    values["train"] |= {"device": "cpu", "precision": "fp32", "log_every": 1}
    for stage in values["train"]["stages"]:
        stage |= {"steps": steps, "batch_size": 2, "gradient_accumulation_steps": 1}
    return values


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def photographs(folder: Path) -> Any:
    rows = []
    for name, caption in (
        ("astronaut.png", "a woman in an orange suit"),
        ("coffee.png", "a cup of coffee on a table"),
        ("chelsea.png", "a cat looks at us"),
        ("rocket.jpg", "a rocket on its pad at night"),
    ):
        shutil.copy(PHOTOGRAPHS / name, folder / name)
        rows.append(json.dumps({"image": name, "caption": caption}))
    path = folder / "photographs.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


@pytest.mark.parametrize("data", ["scenes", "photographs"])
@pytest.mark.parametrize("name", ["two_stages", "lora"])
def test_the_recipe_trains_what_it_says(
    name: str, data: str, folders: dict[str, str], tmp_path: Path
) -> None:
    source = [{"kind": "scenes", "size": 8}] if data == "scenes" else photographs(tmp_path)
    values = recipe(name, folders, source, steps=6)
    run = sightweave.train(values, out=tmp_path / "run", evaluate=False)
    there = read_tensors(folders["encoder"])
    assert run.model.encoder.stem.weight.equal(there["embeddings.patch_embedding.weight"])
    assert not any("lora_" in key for key in run.model.state_dict())
    block = run.model.language_model.blocks[0].attention.q.weight
    assert not block.equal(read_tensors(folders["language_model"])["model.layers.0.self_attn.q_proj.weight"])
    losses = [row["loss"] for row in rows(tmp_path / "run")]
    assert len(losses) == 12
    assert sum(losses[-3:]) < sum(losses[:3])
    # What was trained goes out as what it is.
    made = sightweave.export(run, out=tmp_path / "out", data=None if data == "scenes" else source, samples=3)
    assert made.equal_answers == len(made.compared) > 0


def test_the_first_stage_leaves_the_language_model_alone(folders: dict[str, str], tmp_path: Path) -> None:
    values = recipe("two_stages", folders, [{"kind": "scenes", "size": 8}], steps=3)
    del values["train"]["stages"][1]
    run = sightweave.train(values, out=tmp_path / "run", evaluate=False)
    there = read_tensors(folders["language_model"])
    for name in ("q", "k", "v"):
        weight = getattr(run.model.language_model.blocks[1].attention, name).weight
        assert weight.equal(there[f"model.layers.1.self_attn.{name}_proj.weight"])


@pytest.mark.parametrize("name", ["two_stages", "lora"])
def test_the_recipe_itself_names_what_it_needs(name: str) -> None:
    with pytest.raises(
        sightweave.SightweaveError, match=r"google/siglip2-base-patch16-224: folder not found"
    ):
        sightweave.build(RECIPES / f"{name}.yaml")
