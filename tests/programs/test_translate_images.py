"""Words in images are translated from the command line by a run that was trained to, with either writer."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sightweave
from sightweave import cli
from sightweave.data.datasets import scenes
from sightweave.data.inputs import image_files

SIDE = 96
"""Side of the scenes."""
RECIPE: dict[str, Any] = {
    "title": "signs",
    "data": [{"kind": "scenes", "size": 12, "signs": 1, "tasks": ["image_translation"]}],
    "tasks": {"image_translation": {"patch_size": 16}},
    "model": {
        "encoder": {"kind": "cnn", "image_size": SIDE, "channels": [4, 4, 8], "blocks": [0, 0, 0]},
        "connector": {"kind": "pool"},
        "fusion": "concat",
        "language_model": {"kind": "decoder_only", "dim": 16, "depth": 1, "num_heads": 2},
        "image_tokenizer": {
            "kind": "fsq",
            "image_size": 16,
            "stride": 8,
            "levels": [4, 3],
            "channels": 4,
            "max_channels": 8,
        },
    },
    "inputs": {"vocab_size": 320, "max_length": 400},
    "train": {
        "device": "cpu",
        "precision": "fp32",
        "num_threads": 1,
        "stages": [
            {"name": "image tokens", "steps": 1, "batch_size": 2, "learn": "image_tokens"}
            | {"parts": ["image_tokenizer"]},
            {"name": "answers", "steps": 1, "batch_size": 2},
        ],
    },
}


def trained(folder: Path, recipe: dict[str, Any]) -> Path:
    sightweave.train(recipe, out=folder, evaluate=False, progress=False)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("signs") / "run", RECIPE)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    shown = scenes.Config(signs=1).build(split="scenes")[0][0].images[0]
    image_files.picture(shown).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def called(*words: object, status: int = 0) -> str:
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == status, done.output
    return done.output or str(done.exception)


def test_a_run_translates_the_words_in_an_image(
    run: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tiny model does not say where a sign is, so its answer is that of a better one.
    model = sightweave.load(run)
    text = "[0 0 500 500] bat => Schläger"
    ids = model.processor.tokenizer.encode(text)
    tokens = model.processor.layout.image_tokens
    assert tokens is not None
    pictures = tokens.picture([0] * tokens.rows * tokens.columns)

    for writer, made in (("rendered", ids), ("image_tokens", [*ids, *pictures])):
        answered_with(monkeypatch, made, model.processor.tokenizer.end_id)
        out = tmp_path / f"{writer}.png"
        said = called("translate", run, photo, "--to", "de", "--writer", writer, "--out", out)
        assert "bat => Schläger" in said
        with Image.open(photo) as source, Image.open(out) as target:
            assert target.size == source.size
            outside = (SIDE // 2, 0, SIDE, SIDE)
            assert target.convert("RGB").crop(outside).tobytes() == source.crop(outside).tobytes()
            assert target.convert("RGB").tobytes() != source.tobytes()


def answered_with(monkeypatch: pytest.MonkeyPatch, ids: list[int], end_id: int) -> None:
    """Makes the decoding methods choose given ids."""
    from sightweave.answers.decoding import greedy
    from sightweave.answers.decoding._base import Choice

    # Texts and codes have a method each, which are called at every token.
    steps: collections.Counter[int] = collections.Counter()

    def choose(self: Any, logits: torch.Tensor, _is_done: torch.Tensor, _draws: Any) -> Choice:
        step = steps[id(self)]
        steps[id(self)] += 1
        token = torch.full((len(logits),), [*ids, end_id][min(step, len(ids))])
        return Choice(token, logits.new_zeros(len(logits)))

    monkeypatch.setattr(greedy.Greedy, "choose", choose)


def test_a_language_that_the_run_has_not_learnt_is_refused(run: Path, photo: Path, tmp_path: Path) -> None:
    said = called("translate", run, photo, "--to", "ja", status=1)
    assert "this run was not trained to translate into 'ja'. It was trained on: " in said

    data = [{"kind": "scenes", "size": 12, "signs": 1, "tasks": ["reading"]}]
    stage = {"name": "answers", "steps": 1, "batch_size": 2}
    reads = RECIPE | {"data": data, "train": RECIPE["train"] | {"stages": [stage]}}
    reads["model"] = {name: value for name, value in RECIPE["model"].items() if name != "image_tokenizer"}
    other = trained(tmp_path / "reads", reads)
    said = called("translate", other, photo, "--to", "de", status=1)
    assert "this run was not trained on translation" in said
