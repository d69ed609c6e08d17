"""A recipe that trains an image tokenizer and then drawings: training, saving, loading and drawing, as a user does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sightweave
from sightweave import cli
from sightweave.core.errors import CheckpointError, DataError, ExportError, FolderError, RecipeError
from sightweave.core.types import Prediction
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
            {
                "name": "drawings",
                "steps": 25,  # enough to begin an image when one is asked for
                "batch_size": 2,
                "hide_prompts": 0.1,
                "image_token_weight": 0.5,
                "optimizer": {"name": "adamw", "lr": 0.02},
            },
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
    assert [row["stage"] for row in rows] == ["image tokens"] * 2 + ["drawings"] * 25
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
    assert "".join(one.stream(None, texts[0], writer="image_tokens")) == (
        one.generate(None, texts[0], writer="image_tokens").text
    )
    # It still describes images, in text alone.
    assert one.generate(None, "What is it?", max_tokens=5).images == ()


def test_the_command_draws_what_python_draws(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["draw", str(folder), "a red circle", "--out", str(tmp_path / "out.png")]
    more = ["--guidance", "2", "--top-k", "3", "--seed", "4"]
    done = CliRunner().invoke(cli.app, [*words, *more, "--json"])
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    assert row["picture"] == str(tmp_path / "out.png")
    assert row["prompt"] == "Draw: a red circle"

    sampling = {"kind": "sampling", "top_k": 3}
    (expected,) = (
        sightweave.load(folder).draw("a red circle", guidance=2.0, picture_decoding=sampling, seed=4).images
    )
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.tobytes() == expected.tobytes()
    assert CliRunner().invoke(cli.app, words).stdout == f"{tmp_path / 'out.png'}\n"

    expected.save(tmp_path / "mine.png")
    with pytest.raises(FolderError, match="was not written by Sightweave"):
        sightweave.draw(folder, "a red circle", out=tmp_path / "mine.png")
    monkeypatch.setattr(sightweave.Run, "draw", lambda *_, **__: Prediction("a circle"))
    with pytest.raises(DataError, match="no image was written, because the answer has none"):
        sightweave.draw(folder, "a red circle", out=tmp_path / "none.png")


def test_the_answers_to_a_dataset_have_the_drawings(folder: Path, tmp_path: Path) -> None:
    data = "{kind: scenes, size: 3, tasks: [drawing]}"
    words = ["generate", str(folder), "--data", data, "--writer", "image_tokens"]
    for name in ("answers.jsonl", "answers.csv"):
        done = CliRunner().invoke(cli.app, [*words, "--out", str(tmp_path / name)])
        assert done.exit_code == 0, done.output

    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert rows
    files = sorted((tmp_path / "answers-pictures").iterdir())
    assert [row["picture"] for row in rows if row["picture"]] == list(map(str, files))
    assert files
    assert files[0].name == "000000.png"
    with Image.open(files[0]) as picture:
        assert picture.size == (32, 32)
    header, first, *_ = (tmp_path / "answers.csv").read_text().splitlines()
    assert header == "id,image,question,answer,logprob,picture,faults"
    assert str(files[0]) in first
    with pytest.raises(RecipeError, match=r"max_tokens is 4, but an image takes up to \d+ tokens"):
        list(
            sightweave.answer_all(folder, {"kind": "scenes", "size": 1}, writer="image_tokens", max_tokens=4)
        )


def test_an_evaluation_shows_drawings_without_a_score(folder: Path, tmp_path: Path) -> None:
    data = {"kind": "scenes", "size": 12, "tasks": ["drawing"]}
    options: dict[str, Any] = {"data": data, "splits": ["scenes"], "max_images": 3, "out": tmp_path}
    (found,) = sightweave.evaluate(folder, **options)
    assert (found.count, found.tasks, len(found.drawings)) == (0, (), 3)
    first = found.drawings[0]
    assert first.prompt.startswith("Draw: ")
    files = json.loads((tmp_path / "gallery" / "index.json").read_text())
    with Image.open(tmp_path / "gallery" / files[first.pictures["image_tokens"]]) as picture:
        assert picture.size == (32, 32)
    assert first.target_image in files
    page = (tmp_path / "report.html").read_text()
    assert page.count("answer (image tokens)</figcaption>") == 3

    # The page can be made again from the files alone.
    sightweave.report(tmp_path)
    assert (tmp_path / "report.html").read_text().count("answer (image tokens)</figcaption>") == 3

    # Next to tasks that are scored.
    data["tasks"] = ["drawing", "captioning"]
    (both,) = sightweave.evaluate(folder, **{**options, "data": data, "controls": ["no_image"]})
    assert [task.task for task in both.tasks] == ["captioning"]
    assert both.drawings == found.drawings


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
    assert "drawn attributes" in text
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
    with pytest.raises(RecipeError, match=r"are drawings .* but only a run with an image tokenizer draws"):
        sightweave.evaluate(judge, metrics(judge), out=tmp_path / "a", **options)
    with pytest.raises(RecipeError, match="exact_match scores texts, but the answers are drawings"):
        sightweave.evaluate(folder, "tasks.drawing.metrics=[exact_match]", out=tmp_path / "b", **options)
    with pytest.raises(CheckpointError, match="no-run"):
        sightweave.evaluate(folder, metrics(tmp_path / "no-run"), out=tmp_path / "c", **options)
