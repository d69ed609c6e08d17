"""Wrong recipes and wrong settings: each is one clear error of the real command, and nothing is trained."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from sightweave import cli

GOOD = """\
data: pictures
model:
  encoder: {kind: cnn, image_size: 32, channels: [8, 16], blocks: [0, 0]}
  connector: linear
  fusion: concat
  language_model: {kind: decoder_only, dim: 16, depth: 1, num_heads: 2}
inputs: {vocab_size: 300}
train: {stages: [{steps: 1, batch_size: 2}], num_threads: 1, precision: fp32}
"""
Attack = Callable[..., str]


@pytest.fixture
def attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Attack:
    """Runs ``sightweave train`` and gives its one error; checks that it is one, and that nothing was trained."""
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    Image.new("RGB", (8, 8)).save("pictures/a.png")
    row = '{"image": "a.png", "question": "What is it?", "answer": "black", "split": "train"}\n'
    Path("pictures/data.jsonl").write_text(row, encoding="utf-8")

    def run(*settings: str, recipe: str | bytes = GOOD) -> str:
        Path("recipe.yaml").write_bytes(recipe if isinstance(recipe, bytes) else recipe.encode())
        monkeypatch.setattr(
            sys, "argv", ["sightweave", "train", "recipe.yaml", *settings, "--out", "run", "--no-evaluate"]
        )
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        assert stop.value.code == 1
        assert said.out == ""
        errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "Traceback" not in said.err
        assert not Path("run", "checkpoint").exists()
        return said.err[said.err.index("error: ") :]

    return run


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.encodr=cnn", "model.encodr: unknown key (got 'cnn'). Did you mean 'encoder'?"),
        ("train.stages.0.stepz=3", "train.stages.0.stepz: unknown key (got 3). Did you mean 'steps'?"),
        (
            "model.encoder.chanels=[8]",
            "model.encoder.chanels: unknown key (got [8]). Did you mean 'channels'?",
        ),
        (
            "model.fusion={kind: concat, bidirektional: all}",
            "fusion.bidirektional: unknown key (got 'all'). Did you",
        ),
        ("model.language_model.dimm=3", "unknown key"),
        (
            "seed=abc",
            "seed: Input should be a valid integer, unable to parse string as an integer (got 'abc')",
        ),
        ("model.language_model.dim=1.5", "dim"),
        ("model=3", "model"),
        ("model.encoder=3", "model.encoder: needs a kind, such as {kind: cnn} (got 3)"),
        ("model.fusion=concatt", "Did you mean 'concat'? Known: addition, bilinear, concat,"),
        ("model.fusion=os.path", "has no class Config"),
        ("model.fusion=no.such.module", "cannot be imported"),
        ("model.language_model.num_heads=5", "num_heads 5 does not divide the width 16"),
        ("model.fusion=bilinear", "Fusions for DecoderOnly: addition, concat, cross_attention."),
        ("model.fusion=memory", "Language models for MemoryFusion: encoder_decoder, from_transformers."),
        ("model.encoder.image_size=0", "encoder.image_size must be at least 1 (got 0)"),
        ("model.encoder.image_size=-4", "encoder.image_size must not be negative (got -4)"),
        ("model.encoder.channels=[8, -1]", "encoder.channels must not be negative (got (8, -1))"),
        ("model.encoder.channels=[8]", "must have the same number of stages, at least one."),
        ("model.language_model.depth=0", "language_model.depth must be at least 1 (got 0)"),
        ("model.language_model.depth=-1", "language_model.depth must not be negative (got -1)"),
        ("train.stages.0.steps=0", "train.stages.0.steps: Input should be greater than 0 (got 0)"),
        (
            "train.stages.0.batch_size=-2",
            "train.stages.0.batch_size: Input should be greater than 0 (got -2)",
        ),
        ("train.stages.0.gradient_accumulation_steps=0", "train.stages.0.gradient_accumulation_steps"),
        ("train.stages.0.max_grad_norm=-1", "train.stages.0.max_grad_norm"),
        (
            "train.stages.0={steps: 1, clip: 1.0, max_grad_norm: 1.0}",
            "train.stages.0.clip is the old name of max_grad_norm, and both are given; remove train.stages.0.clip.",
        ),
        ("train.stages.0.clip=-1", "train.stages.0.max_grad_norm"),
        ("train.stages.0.optimizer.lr=.nan", "train.stages.0.optimizer.lr: Input should be a finite number"),
        ("train.stages.0.optimizer.lr=.inf", "train.stages.0.optimizer.lr: Input should be a finite number"),
        ("train.stages.0.optimizer.lr=-1", "train.stages.0.optimizer.lr"),
        ("train.stages.0.optimizer.name=sgd", "'adamw' or 'muon' (got 'sgd')"),
        ("train.stages.0.schedule.name=sine", "'cosine', 'wsd' or 'constant' (got 'sine')"),
        ("train.stages.0.schedule.cooldown=2", "train.stages.0.schedule.cooldown"),
        ("train.stages.0.parts=[encode]", "train.stages.0.parts.0: Input should be 'encoder', 'connector'"),
        ("train.stages.0.parts=[]", "train.stages.0.parts: at least one is needed"),
        ("train.stages.0.tasks=[vqq]", "Did you mean 'vqa'?"),
        ("train.stages=[]", "train.stages: at least one is needed"),
        ("train.log_every=0", "train.log_every: Input should be greater than 0 (got 0)"),
        ("train.save_every=0", "train.save_every: Input should be greater than 0 (got 0)"),
        ("train.num_threads=0", "train.num_threads"),
        ("train.device=gpu", "device 'gpu' is unknown. Did you mean 'cpu'?"),
        ("train.precision=fp8", "'auto', 'fp32' or 'bf16' (got 'fp8')"),
        ("inputs.vocab_size=3", "256 bytes and 5 special tokens need 261 ids (got 3)"),
        ("inputs.fit=stretch", "'pad', 'crop' or 'squash' (got 'stretch')"),
        ("evaluate.controls=[blind]", "evaluate.controls: no control 'blind' (got ['blind']). Did you mean"),
        ("evaluate.splits=[tests]", "no split 'tests'. Did you mean 'test'?"),
        ("tasks={vqq: {}}", "no task 'vqq'. Did you mean 'vqa'?"),
        ("tasks.vqa.instruktion=x", "tasks.vqa: 1 mistake(s)"),
        ("tasks.vqa=3", "tasks.vqa"),
        ("init_from=nowhere", "nowhere: folder not found"),
        ("data=nowhere", "nowhere: file or folder not found; give a folder with images and a data.jsonl"),
        ("data=[]", "data: the recipe has no source; set data=scenes or data=FOLDER, or pass records."),
        ("data={kind: scenes, sed: 1}", "data.0.sed: unknown key (got 1)"),
        ("nonsense", "'nonsense': a setting is written path=value, such as model.fusion=concat."),
        ("=3", "a setting is written path=value"),
        ("train.stages.7.steps=3", "'7' is not an index of a list of length 1"),
        ("train.stages.first.steps=3", "'first' is not an index of a list of length 1"),
        ("seed.deep=1", "'seed' is 0, which has no fields"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(attack: Attack, setting: str, words: str) -> None:
    recipe = GOOD + "seed: 0\n"
    assert words in attack(setting, recipe=recipe)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there(attack: Attack) -> None:
    assert "device 'cuda': not available on this machine; available: cpu" in attack("train.device=cuda")


def test_all_mistakes_are_told_at_once(attack: Attack) -> None:
    said = attack("model.fusion=concatt", "train.stages.0.steps=-1", "sed=3")
    assert "recipe.yaml: 3 mistake(s)" in said
    assert "model.fusion" in said
    assert "train.stages.0.steps" in said
    assert "sed: unknown key (got 3). Did you mean 'seed'?" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("data: pictures\n", ""), "data: missing; set it in the recipe"),
        (GOOD.replace("  fusion: concat\n", ""), "model.fusion: missing"),
        ("a: &x 1\nb: *x\n", "YAML aliases (*name) are not allowed; write the value out."),
        ("seed: !!python/object/apply:os.system ['touch harmed']\n", "not valid YAML"),
        ("model: !!python/name:os.system x\n", "not valid YAML"),
        ("[1, 2]\n", "a recipe must be a mapping of keys to values (got list)"),
        ("", "a recipe must be a mapping of keys to values (got NoneType)"),
        ("a: [1\n", "not valid YAML"),
        ("title: " + "a" * (1 << 20), "the maximum is 1048576"),
        (b"title: \xff\xfe\n", "not UTF-8 at byte 7"),
        ("3: 1\n" + GOOD, "3: unknown key; keys must be strings"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested deeper than 32 levels"),
        (GOOD + "title: a\ntitle: b\n", "'title' appears twice, in line"),
    ],
)
def test_a_wrong_file_is_one_clear_error(attack: Attack, text: str | bytes, words: str) -> None:
    assert words in attack(recipe=text)
    assert not Path("harmed").exists()


def test_a_trained_run_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    (tmp_path / "run" / "checkpoint" / "manifest.json").write_text('{"format_version": 1}', encoding="utf-8")
    monkeypatch.setattr(
        sys, "argv", ["sightweave", "train", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit):
        cli.main()
    assert "run: already holds a trained run; choose another folder" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["nowhere.yaml", "."])
def test_no_such_recipe_as_its_own_process(tmp_path: Path, recipe: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sightweave", "train", recipe],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: {recipe}: recipe file not found, and no built-in recipe has this name."
    )
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
