"""A recipe that trains an image tokenizer and then drawings: training, saving, loading and drawing, as a user does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sightweave
from sightweave.core.errors import CheckpointError, DataError, ExportError, RecipeError
from sightweave.programs.training.logs import read_metrics

RECIPE: dict[str, Any] = {
    "title": "drawings",
    "data": [{"kind": "scenes", "size": 12, "tasks": ["drawing", "captioning"]}],
    "model": {
        "encoder": {"kind": "cnn", "image_size": 32, "channels": [4, 8], "blocks": [0, 0]},
        "connector": {"kind": "pool"},
        "fusion": "concat",
        "language_model": {"kind": "decoder_only", "dim": 16, "depth": 1, "num_heads": 2},
        "image_tokenizer": {
            "kind": "fsq",
            "image_size": 32,
            "stride": 16,
            "levels": [4, 3],
            "channels": 4,
            "max_channels": 8,
        },
    },
    "inputs": {"vocab_size": 300},
    "train": {
        "device": "cpu",
        "precision": "fp32",
        "num_threads": 1,
        "validate_every": 2,
        "validate_images": 2,
        "log_every": 1,
        "stages": [
            {
                "name": "image tokens",
                "steps": 2,
                "batch_size": 2,
                "learn": "image_tokens",
                "parts": ["image_tokenizer"],
            },
            {"name": "drawings", "steps": 2, "batch_size": 2, "hide_prompts": 0.1, "image_token_weight": 0.5},
        ],
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("drawings") / "run"
    sightweave.train(RECIPE, out=made, evaluate=False, progress=False)
    return made


def test_both_stages_are_logged_with_their_own_measures(folder: Path) -> None:
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["stage"] for row in rows] == ["image tokens"] * 2 + ["drawings"] * 2
    assert rows[1]["validation_codes_used"] >= 1
    assert {"validation_psnr", "validation_ssim", "update_ratio_image_tokenizer"} <= rows[1].keys()
    assert {"logit_norm_text", "logit_norm_image"} <= rows[3].keys()
    assert "update_ratio_image_tokenizer" not in rows[3]
    facts = json.loads((folder / "run.json").read_text())
    assert facts["image_tokenizer"]["psnr"] == rows[1]["validation_psnr"]
    assert not facts["left_out"]


def test_a_loaded_run_draws_what_the_run_in_memory_draws(folder: Path) -> None:
    one, two = sightweave.load(folder), sightweave.load(folder)
    assert torch.equal(
        one.model.image_tokenizer.quantizer.levels,  # type: ignore[union-attr]  # it has one
        torch.tensor([4, 3]),
    )
    texts = ["a red circle", "a big dog and a blue star"]
    for options in ({}, {"guidance": 2.0}, {"picture_decoding": "greedy"}):
        found, again = one.draw(texts, **options), two.draw(texts, **options)
        assert [answer.ids for answer in found] == [answer.ids for answer in again]
        assert all(image.mode == "RGB" for answer in found for image in answer.images)
    assert one.draw(texts[0]).ids == one.draw(texts)[0].ids
    # It still describes images, in text alone.
    assert one.generate(None, "What is it?", max_tokens=5).images == ()


def test_what_it_cannot_do_is_said(folder: Path, tmp_path: Path) -> None:
    run = sightweave.load(folder)
    with pytest.raises(DataError, match="the question is empty"):
        run.draw(" ")
    with pytest.raises(ExportError, match="has an image tokenizer, fsq, which no export format can contain"):
        sightweave.export(run, out=tmp_path / "export")

    # Weights of another image tokenizer, of the same shapes.
    tokenizer = {**RECIPE["model"]["image_tokenizer"], "levels": [3, 4]}
    other = {**RECIPE, "model": {**RECIPE["model"], "image_tokenizer": tokenizer}, "init_from": str(folder)}
    with pytest.raises(CheckpointError, match=r"levels \[4, 3\], but this one has \[3, 4\]"):
        sightweave.build(other)


def test_a_model_without_an_image_tokenizer_does_not_draw() -> None:
    recipe = {**RECIPE, "model": {**RECIPE["model"], "image_tokenizer": None}}
    recipe["train"] = {**RECIPE["train"], "stages": [{"steps": 1}]}
    run = sightweave.build(recipe)
    with pytest.raises(RecipeError, match="draw: the model makes no images, since it has no image tokenizer"):
        run.draw("a red circle")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers questions about scenes, without having learnt much."""
    made = tmp_path_factory.mktemp("judge") / "run"
    recipe = {
        **RECIPE,
        "data": [{"kind": "scenes", "size": 12, "tasks": ["vqa", "reasoning"]}],
        "model": {**RECIPE["model"], "image_tokenizer": None},
    }
    recipe["train"] = {**RECIPE["train"], "stages": [{"steps": 2, "batch_size": 2}]}
    sightweave.train(recipe, out=made, evaluate=False, progress=False)
    return made


def metrics(judge: Path) -> str:
    return f"tasks.drawing.metrics=[{{kind: drawn_attributes, judge: {judge}}}, {{kind: kid, features: {judge}}}]"


def test_drawings_are_scored_by_another_run(folder: Path, judge: Path, tmp_path: Path) -> None:
    data = {"kind": "scenes", "tasks": ["drawing"]}
    scores = []
    for name, settings in (("one", ()), ("two", ()), ("three", ("evaluate.guidance=2", "seed=1"))):
        found = sightweave.evaluate(
            folder,
            metrics(judge),
            *settings,
            data=data,
            max_images=6,
            splits=["combinations"],
            out=tmp_path / name,
            progress=False,
        )
        scores.append([one.tasks[0] for one in found])

    # Unmet combinations have a table of their own, and the same drawings give the same scores.
    assert [one.split for one in found] == ["combinations", "combinations, met pairs"]
    assert scores[0] == scores[1]
    one = scores[0][0]
    assert one.metric == "drawn_attributes"
    assert one.facts["drawn_attributes"].signature.startswith(f"judge:{judge}|sha256:")
    totals = one.facts["drawn_attributes"].totals
    assert 0 <= totals["ceiling"] <= 1
    assert 0 <= totals["floor"] <= 1
    assert one.metrics["kid"] is not None
    assert one.controls == {}

    # Stored scores can be read and compared, although the drawings themselves are not stored.
    text = sightweave.report(tmp_path / "one").read_text()
    assert "drawn_attributes" in text
    _, compared = sightweave.beside(tmp_path / "one", tmp_path / "three")
    assert "drawing" in compared


def test_without_metrics_drawings_are_left_out(folder: Path, tmp_path: Path) -> None:
    found = sightweave.evaluate(
        folder,
        data={"kind": "scenes", "tasks": ["drawing", "captioning"]},
        max_images=4,
        splits=["scenes"],
        out=tmp_path / "out",
        progress=False,
    )
    assert [task.task for task in found[0].tasks] == ["captioning"]


def test_what_cannot_be_scored_is_said(folder: Path, judge: Path, tmp_path: Path) -> None:
    data = {"kind": "scenes", "tasks": ["drawing"]}
    options: dict[str, Any] = {"data": data, "max_images": 2, "splits": ["scenes"], "progress": False}
    with pytest.raises(RecipeError, match="are drawings .* but only a run with an image tokenizer draws"):
        sightweave.evaluate(judge, metrics(judge), out=tmp_path / "a", **options)
    with pytest.raises(RecipeError, match="exact_match scores texts, but the answers are drawings"):
        sightweave.evaluate(folder, "tasks.drawing.metrics=[exact_match]", out=tmp_path / "b", **options)
    with pytest.raises(CheckpointError, match="no-run"):
        sightweave.evaluate(folder, metrics(tmp_path / "no-run"), out=tmp_path / "c", **options)
