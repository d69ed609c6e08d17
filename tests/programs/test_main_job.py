"""The main job by its real commands, each its own process, on a tiny recipe: every file that a run promises is there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file

import sightweave
from sightweave import recipe as recipes
from sightweave.core.terminal import visible

SOURCE = Path(sightweave.__file__).parents[1]
RECIPE = """\
title: A tiny run
data: {kind: scenes, size: 30, items_per_image: 4}
model:
  encoder: {kind: cnn, image_size: 32, channels: [8, 16], blocks: [0, 0]}
  connector: {kind: pool, side: 2}
  fusion: concat
  language_model: {kind: decoder_only, dim: 32, depth: 2, num_heads: 2, hidden_dim: 64}
inputs: {vocab_size: 600}
evaluate: {max_images: 2, max_tokens: 6}
train:
  num_threads: 1
  precision: fp32
  log_every: 1
  stages:
    - {name: words, steps: 2, batch_size: 4, learn: words, words: regions, parts: [encoder, connector, token_embedding]}
    - {name: answers, steps: 3, batch_size: 2}
"""
COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "white": (250, 250, 250)}


def command(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``sightweave ...`` and returns when it ends."""
    done = subprocess.run(
        [sys.executable, "-m", "sightweave", *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(SOURCE), "COLUMNS": "200"},
        capture_output=True,
        timeout=900,
        check=False,
    )
    # An untrained model may say any kind of line end, which must not be changed on the way.
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    )


def good(*words: str | Path, folder: Path) -> str:
    """Runs a command that must succeed; what it printed."""
    done = command(*words, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, a picture, the user's own rows, and a run trained by the command."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    rows = []
    for name, colour in COLOURS.items():
        Image.new("RGB", (20, 14), colour).save(folder / f"{name}.png")
        rows.append(
            {"image": f"{name}.png", "question": "What colour is it?", "answer": name, "id": f"q-{name}"}
        )
        rows.append({"image": f"{name}.png", "caption": f"All {name}."})
        rows[-1]["split"] = rows[-2]["split"] = "test" if name == "white" else "train"
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data.jsonl").write_text(lines, encoding="utf-8")
    said = good("train", "recipe.yaml", "seed=3", "--out", "run", folder=folder)
    assert said == "run: run\nreport: run/report.html\n"
    return folder


def test_the_run_folder_is_complete(place: Path) -> None:
    run = place / "run"
    resolved = recipes.read(run / "recipe.yaml")
    assert resolved == recipes.read(place / "recipe.yaml", ["seed=3"])
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert facts["format_version"] == 1
    assert (facts["seed"], facts["steps"], facts["interrupted"]) == (3, 5, False)
    assert facts["versions"]["torch"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["stage"] for row in rows] == ["words"] * 2 + ["answers"] * 3
    assert all(row["loss"] > 0 for row in rows)
    assert list(run.glob("events.out.tfevents.*"))
    names = {file.name for file in (run / "checkpoint").iterdir()}
    assert names == {"manifest.json", "model.safetensors", "processor.json", "recipe.json", "tokenizer.json"}
    document = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    # Test splits alone; of one of them, what is about met pairs only stands apart.
    assert [one["split"] for one in document["splits"]] == [
        "scenes",
        "combinations",
        "combinations, met pairs",
    ]
    assert (document["seed"], document["who"]) == (3, "run")
    assert recipes.read(document["recipe"]) == resolved
    assert document["versions"]["torch"]
    assert document["data"]
    assert document["fingerprint"]
    assert "captioning: Describe the image." in document["template"]
    assert (run / "predictions.jsonl").stat().st_size


def test_the_report_is_self_contained(place: Path) -> None:
    page = (place / "run" / "report.html").read_text(encoding="utf-8")
    assert "A tiny run" in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "data:image/" in page


def test_evaluate_scores_a_split_and_other_data(place: Path) -> None:
    own = (place / "run" / "evaluation.json").read_bytes()
    done = command("evaluate", "run", "--data", "data.jsonl", folder=place)
    assert done.returncode == 0, done.stderr
    assert "This model uses the image: unknown" in done.stdout
    folder = place / "run" / "evaluations" / "data-jsonl"
    assert "report: run/evaluations/data-jsonl/report.html" in done.stderr
    (evaluation,) = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["splits"]
    assert (evaluation["split"], evaluation["count"]) == ("test", 2)
    assert (place / "run" / "evaluation.json").read_bytes() == own
    # The same command again asks nothing; another metric neither.
    again = command("evaluate", "run", "tasks.vqa.metrics=[anls]", "--data", "data.jsonl", folder=place)
    assert re.search(r"\d+ answers reused, 0 new", again.stderr)
    assert "anls" in (folder / "evaluation.json").read_text(encoding="utf-8")
    refused = command("evaluate", "run", "--split", "scene", folder=place)
    assert refused.returncode == 1
    assert "error: evaluate.splits: no split 'scene'. Did you mean 'scenes'?" in refused.stderr


def test_generate_answers_one_question_several_and_all_of_a_folder(place: Path) -> None:
    one = good("generate", "run", "red.png", "What colour is it?", "--max-tokens", "8", folder=place)
    several = good(
        *("generate", "run", "red.png", "What colour is it?", "What is it?", "--max-tokens", "8"),
        folder=place,
    )
    loaded = sightweave.load(place / "run")
    both = loaded.generate(place / "red.png", ["What colour is it?", "What is it?"], max_tokens=8)
    assert one == both[0].text + "\n"
    assert several == "".join(answer.text + "\n" for answer in both)
    assert "".join(loaded.stream(place / "red.png", "What is it?", max_tokens=8)) == both[1].text
    good("generate", "run", "--data", ".", "--out", "answers.jsonl", "--max-tokens", "8", folder=place)
    rows = [json.loads(line) for line in (place / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 8  # of all splits
    named = [row for row in rows if "id" in row]  # only the questions brought one
    assert {row["id"] for row in named} == {f"q-{name}" for name in COLOURS}
    assert len(named) == 4
    assert all(set(row) - {"id"} == {"image", "prompt", "answer", "logprob"} for row in rows)
    red = next(row for row in named if row["id"] == "q-red")
    assert (red["image"], red["prompt"], red["answer"]) == ("red.png", "What colour is it?", both[0].text)
    assert red["logprob"] == pytest.approx(both[0].logprob, abs=1e-4)
    assert red["logprob"] < 0


def test_drawing_and_beams_from_the_command_line(place: Path) -> None:
    drawn = ("generate", "run", "red.png", "What is it?", "--temperature", "1.5", "--max-tokens", "8")
    first = good(*drawn, "--seed", "1", folder=place)
    loaded = sightweave.load(place / "run")
    method = {"kind": "sampling", "temperature": 1.5}
    asked = loaded.generate(place / "red.png", "What is it?", decoding=method, max_tokens=8, seed=1)
    assert first == visible(asked.text) + "\n"
    beam = loaded.generate(
        place / "red.png", "What is it?", decoding={"kind": "beam", "num_beams": 3}, max_tokens=8
    )
    said = good(
        "generate", "run", "red.png", "What is it?", "--num-beams", "3", "--max-tokens", "8", folder=place
    )
    assert said == beam.text + "\n"


def test_caption_and_translate(place: Path) -> None:
    loaded = sightweave.load(place / "run")
    said = good("caption", "run", "blue.png", "--max-tokens", "8", folder=place)
    assert said == loaded.caption(place / "blue.png", max_tokens=8).text + "\n"
    said = good("translate", "run", "blue.png", "The sky.", "--to", "de", "--max-tokens", "8", folder=place)
    assert said == loaded.translate(place / "blue.png", "The sky.", to="de", max_tokens=8).text + "\n"


def test_a_run_starts_from_another(place: Path) -> None:
    asked = ("train.stages.0.steps=1", "train.stages.1.steps=1", "train.stages.1.optimizer.lr=0")
    more = (*asked, "train.stages.0.optimizer.lr=0", "data=data.jsonl", "train.stages.0.words=captions")
    good("train", "recipe.yaml", "init_from=run", *more, "--out", "further", "--no-evaluate", folder=place)
    before = load_file(place / "run" / "checkpoint" / "model.safetensors")
    after = load_file(place / "further" / "checkpoint" / "model.safetensors")
    # With a rate of 0 nothing moves, so what is there was taken over.
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)
    tokenizers = [place / name / "checkpoint" / "tokenizer.json" for name in ("run", "further")]
    assert tokenizers[0].read_bytes() == tokenizers[1].read_bytes()
    wider = command("train", "recipe.yaml", "init_from=run", "model.language_model.dim=64", folder=place)
    assert wider.returncode == 1
    assert re.search(
        r"error: init_from run: \d+ weights differ in shape: .*\(32, 16\) there, \(64, 16\) here",
        wider.stderr,
    )


def test_the_same_seed_gives_the_same_weights(place: Path) -> None:
    settings = ("data=data.jsonl", "train.stages.0.words=captions")
    for name, seed in (("first", 5), ("second", 5), ("other", 6)):
        good("train", "recipe.yaml", f"seed={seed}", *settings, "--out", name, "--no-evaluate", folder=place)
    weights = [
        (place / name / "checkpoint" / "model.safetensors").read_bytes()
        for name in ("first", "second", "other")
    ]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_leaves_a_checkpoint_that_loads(place: Path) -> None:
    settings = ("data=data.jsonl", "train.stages.0.words=captions", "train.stages.1.steps=1000000")
    process = subprocess.Popen(
        [sys.executable, "-m", "sightweave", "train", "recipe.yaml", *settings, "--out", "stopped"],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        metrics = place / "stopped" / "metrics.jsonl"
        end = time.monotonic() + 300
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 4):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
    finally:
        process.kill()
    assert "Traceback" not in said
    assert process.returncode == 130  # so that a script does not go on as if it had finished
    facts = json.loads((place / "stopped" / "run.json").read_text(encoding="utf-8"))
    assert facts["interrupted"] is True
    assert 4 < facts["steps"] < 1_000_000 < facts["steps_planned"]
    assert 0 < facts["distinct_pictures_shown"] <= facts["pictures_in_data"]
    assert facts["pictures_shown"] >= facts["steps"]
    assert isinstance(sightweave.load(place / "stopped").generate(place / "red.png", "What?").text, str)


@pytest.mark.parametrize(
    ("fusion", "language_model"),
    [
        ("memory", "encoder_decoder"),
        ("bilinear", "encoder_only"),
        ("cross_attention", "decoder_only"),
        ("addition", "decoder_only"),
        ("concat", "encoder_decoder"),
    ],
)
def test_other_compositions_train_and_answer(place: Path, fusion: str, language_model: str) -> None:
    recipe = {
        "data": str(place),
        "model": {
            "encoder": {"kind": "cnn", "image_size": 16, "channels": [8, 16], "blocks": [0, 0]},
            "connector": "linear",
            "fusion": fusion,
            "language_model": {"kind": language_model, "dim": 32, "num_heads": 2},
        },
        "inputs": {"vocab_size": 300},
        "train": {
            "num_threads": 1,
            "precision": "fp32",
            "stages": [{"steps": 60, "batch_size": 3, "tasks": ["vqa"], "optimizer": {"lr": 0.005}}],
        },
    }
    out = place / f"{fusion}-{language_model}"
    sightweave.train(recipe, out=out, evaluate=False)
    run = sightweave.load(out)
    for name in ("red", "green", "blue"):
        assert run.generate(place / f"{name}.png", "What colour is it?").text == name
