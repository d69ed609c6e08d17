"""Damaged, foreign and hostile run folders: each is one clear error of ``sightweave generate``, and no code is run."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import mutants
import pytest
import tiny
from PIL import Image
from safetensors.numpy import load_file, save_file

import sightweave
from sightweave import cli
from sightweave.core.errors import SightweaveError

ROWS = [
    {"image": "a.png", "question": "What is it?", "answer": answer, "split": "train"}
    for answer in ("black", "dark")
]
RECIPE = {
    "model": tiny.MODEL,
    "inputs": {"vocab_size": 300},
    "train": {"stages": [{"steps": 1, "batch_size": 1}], "num_threads": 1, "precision": "fp32"},
}
Attack = Callable[[], str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    sightweave.train(RECIPE | {"data": str(folder)}, out=folder / "run", evaluate=False)
    return folder


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run's checkpoint to damage; the working folder holds the run."""
    shutil.copytree(trained, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return Path("run", "checkpoint")


@pytest.fixture
def error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Attack:
    """Runs ``sightweave generate run a.png ...`` and gives its one error."""

    def run() -> str:
        monkeypatch.setattr(sys, "argv", ["sightweave", "generate", "run", "a.png", "What is it?"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        assert stop.value.code == 1
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("error: ") == 1
        assert "Traceback" not in said.err
        return said.err

    return run


def allow(checkpoint: Path, name: str) -> None:
    """Writes a file's true size and hash into the manifest, as somebody would who means harm."""
    manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
    data = (checkpoint / name).read_bytes()
    manifest["files"][name] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_the_undamaged_run_answers(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sightweave", "generate", "run", "a.png", "What is it?"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert capsys.readouterr().out.endswith("\n")


def test_no_run_there(checkpoint: Path, error: Attack) -> None:
    shutil.rmtree("run")
    assert "run: folder not found; create a run with sightweave train RECIPE --out run." in error()


def test_a_folder_that_is_no_run(checkpoint: Path, error: Attack) -> None:
    shutil.rmtree(checkpoint)
    assert ": has no manifest.json; not a checkpoint, or an incomplete" in error()


def test_truncated_weights(checkpoint: Path, error: Attack) -> None:
    weights = checkpoint / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-100])
    assert f"{len(data) - 100} bytes, expected {len(data)}; the file was truncated or changed." in error()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "processor.json", "recipe.json"])
def test_a_flipped_byte(checkpoint: Path, error: Attack, name: str) -> None:
    data = bytearray((checkpoint / name).read_bytes())
    data[-40] ^= 1
    (checkpoint / name).write_bytes(data)
    said = error()
    assert name in said
    assert "...; the file has changed." in said


def test_weights_of_other_shapes(checkpoint: Path, error: Attack) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    name = next(key for key in tensors if tensors[key].ndim == 2)
    tensors[name] = tensors[name][:-1].copy()
    save_file(tensors, checkpoint / "model.safetensors")
    allow(checkpoint, "model.safetensors")
    said = error()
    assert name in said
    assert str(tensors[name].shape) in said


def test_weights_that_are_no_numbers(checkpoint: Path, error: Attack) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    name = next(iter(tensors))
    tensors[name] = tensors[name] * float("nan")
    save_file(tensors, checkpoint / "model.safetensors")
    allow(checkpoint, "model.safetensors")
    assert "finite" in error()


class Harm:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("harmed"),))  # type: ignore[return-value]


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_pickle_under_the_name_of_weights(checkpoint: Path, error: Attack, is_listed: bool) -> None:
    (checkpoint / "model.safetensors").write_bytes(pickle.dumps(Harm()))
    if is_listed:
        allow(checkpoint, "model.safetensors")
    assert ": is a pickle despite its name; pickles can run code and" in error()
    assert not Path("harmed").exists()


def test_a_pickle_beside_the_weights(checkpoint: Path, error: Attack) -> None:
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(Harm()))
    assert "holds pytorch_model.bin: pickles can run code and are never read" in error()
    assert not Path("harmed").exists()


@pytest.mark.parametrize("name", ["tokenizer.json", "processor.json", "recipe.json", "model.safetensors"])
def test_a_missing_file(checkpoint: Path, error: Attack, name: str) -> None:
    (checkpoint / name).unlink()
    said = error()
    assert name in said
    assert "listed in manifest.json but missing; copy the folder again." in said


def test_a_newer_format(checkpoint: Path, error: Attack) -> None:
    path = checkpoint / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | {"format_version": 99}), encoding="utf-8")
    assert "format_version 99, but this version of Sightweave reads up to 1; upgrade Sightweave." in error()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "not json", '{"format_version": 1, "files": {"../../x": {}}}']
)
def test_a_manifest_that_is_none(checkpoint: Path, error: Attack, text: str) -> None:
    (checkpoint / "manifest.json").write_text(text, encoding="utf-8")
    assert "manifest.json" in error()


@pytest.mark.parametrize("name", ["tokenizer.json", "processor.json", "recipe.json"])
@pytest.mark.parametrize("text", ["", "[1, 2]", "{}", "null", '{"a": 1}'])
def test_documents_that_say_nothing(checkpoint: Path, error: Attack, name: str, text: str) -> None:
    (checkpoint / name).write_text(text, encoding="utf-8")
    allow(checkpoint, name)
    assert len(error()) < 1000


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("model.language_model.depth", 20_000, "describes a model of more than"),
        ("model.language_model.dim", 1 << 20, "describes a model of more than"),
        ("model.language_model.hidden_dim", 10**9, "describes a model of more than"),
        ("model.encoder.blocks", [20_000, 0], "describes a model of more than"),
        ("model.encoder.image_size", 10**6, "positions is too large; the maximum is"),
        ("model.encoder.image_size", 4096, ", but the model's is"),
        ("model.language_model.depth", 3, ": these weights do not fit the model:"),
    ],
)
def test_a_model_that_the_weights_are_not_of(
    checkpoint: Path, error: Attack, path: str, value: object, words: str
) -> None:
    recipe = json.loads((checkpoint / "recipe.json").read_text(encoding="utf-8"))
    *steps, last = path.split(".")
    place = recipe
    for step in steps:
        place = place[step]
    place[last] = value
    (checkpoint / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    allow(checkpoint, "recipe.json")
    assert words in error()


def test_a_recipe_of_very_many_stages(checkpoint: Path, error: Attack) -> None:
    recipe = json.loads((checkpoint / "recipe.json").read_text(encoding="utf-8"))
    recipe["train"]["stages"] *= 20_000
    (checkpoint / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    allow(checkpoint, "recipe.json")
    assert "bytes; the maximum is 8388608" in error()


@pytest.mark.parametrize("name", ["tokenizer.json", "processor.json", "recipe.json", "manifest.json"])
def test_values_that_are_nested_very_deep(checkpoint: Path, error: Attack, name: str) -> None:
    value = json.loads((checkpoint / name).read_text(encoding="utf-8"))
    text = json.dumps(value | {"tasks": "HERE"}).replace('"HERE"', '{"a":' * 500 + "1" + "}" * 500)
    (checkpoint / name).write_text(text, encoding="utf-8")
    if name != "manifest.json":
        allow(checkpoint, name)
    assert "nested deeper than 64 levels" in error()


def test_a_vocabulary_larger_than_any_weight(checkpoint: Path, error: Attack) -> None:
    processor = json.loads((checkpoint / "processor.json").read_text(encoding="utf-8"))
    (checkpoint / "processor.json").write_text(json.dumps(processor | {"vocab_size": 4_000_000}))
    allow(checkpoint, "processor.json")
    assert "vocab_size is 4000000, but no weight has more than" in error()


def test_a_tokenizer_that_fills_texts_to_any_length(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["padding"] = {
        "strategy": {"Fixed": 100_000},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "x",
    }
    (checkpoint / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    allow(checkpoint, "tokenizer.json")
    assert len(sightweave.load(Path("run")).processor.tokenizer.encode("black")) < 10


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("name", ["model.safetensors", "recipe.json", "processor.json", "manifest.json"])
def test_a_pipe_in_the_place_of_a_file(checkpoint: Path, error: Attack, name: str) -> None:
    (checkpoint / name).unlink()
    os.mkfifo(checkpoint / name)
    assert name in error()


@pytest.mark.parametrize("name", ["recipe.json", "processor.json", "tokenizer.json", "manifest.json"])
def test_a_changed_value_is_an_error_or_harmless(checkpoint: Path, name: str) -> None:
    text = (checkpoint / name).read_text(encoding="utf-8")
    for what, value in mutants.mutants(json.loads(text), 60):
        (checkpoint / name).write_text(json.dumps(value), encoding="utf-8")
        if name != "manifest.json":
            allow(checkpoint, name)
        try:
            sightweave.load(Path("run"))
        except SightweaveError:
            continue
        except Exception as error:
            raise AssertionError(f"{name}: {what} ends in {type(error).__name__}") from error
