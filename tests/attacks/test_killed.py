"""Runs that are killed, hung up on, started twice, pointed at folders of somebody else, or torn: nothing is lost.

Each starts the program as a user does, and sends it real signals.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image

import sightweave
from sightweave import cli
from sightweave import run as runs
from sightweave.core import files
from sightweave.core.errors import FolderError, RecipeError, SightweaveError

_SECONDS = 120
"""After which a process that does not come to the awaited point is taken for stuck."""
_ENDLESS = 1_000_000
ROWS = [
    {"image": "a.png", "question": f"What is it{mark}", "answer": answer, "split": split}
    for split in ("train", "test")
    for mark, answer in (("?", "black"), ("??", "dark"))
]


def recipe(folder: Path, steps: int, save_every: int = _ENDLESS) -> dict[str, Any]:
    return {
        "data": str(folder / "data"),
        "model": tiny.MODEL,
        "inputs": {"vocab_size": 300},
        "train": {
            "stages": [{"steps": steps, "batch_size": 1}],
            "num_threads": 1,
            "precision": "fp32",
            "check": False,
            "log_every": 1,
            "save_every": save_every,
        },
    }


@pytest.fixture(autouse=True)
def working_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data below the working folder may be read without a word of trust."""
    monkeypatch.chdir(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, recipes and a trained run."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "data").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "data" / "a.png")
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "data" / "data.jsonl").write_text(lines, encoding="utf-8")
    (folder / "endless.json").write_text(json.dumps(recipe(folder, _ENDLESS)), encoding="utf-8")
    (folder / "saving.json").write_text(json.dumps(recipe(folder, _ENDLESS, save_every=1)), encoding="utf-8")
    sightweave.train(recipe(folder, 2), out=folder / "trained")
    return folder


@pytest.fixture
def trained(place: Path, tmp_path: Path) -> Path:
    """A copy of the run to damage."""
    shutil.copytree(place / "trained", tmp_path / "trained")
    return tmp_path / "trained"


@contextlib.contextmanager
def training(place: Path, recipe: str, out: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """``sightweave train`` in a process of its own, which is dead when the block ends."""
    command = [sys.executable, "-m", "sightweave", "train", str(place / recipe), "--out", str(out)]
    # Whoever runs the tests may have had hang-ups ignored, which processes inherit.
    options = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL), **options}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(what: Any, process: subprocess.Popen[str]) -> None:
    began = time.monotonic()
    while not what():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() - began < _SECONDS
        time.sleep(0.05)


def rows_in(out: Path) -> int:
    metrics = out / "metrics.jsonl"
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def facts(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_a_signal_to_end_finishes_the_step_saves_and_names_itself(
    place: Path, tmp_path: Path, name: str
) -> None:
    number = getattr(signal, name)
    with training(place, "endless.json", tmp_path / "out") as process:
        wait_for(lambda: rows_in(tmp_path / "out") > 0, process)
        process.send_signal(number)
        said = process.communicate(timeout=_SECONDS)[1]
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    known = facts(tmp_path / "out")
    assert known["interrupted"]
    assert known["steps"] == rows_in(tmp_path / "out")
    assert f"interrupted after step {known['steps']:,}" in sightweave.load(tmp_path / "out").unfinished
    assert not (tmp_path / "out" / "evaluation.json").exists()


def test_nohup_is_heeded(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with training(
        place, "endless.json", out, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as process:
        wait_for(lambda: rows_in(out) > 0, process)
        process.send_signal(signal.SIGHUP)
        reached = rows_in(out)
        wait_for(lambda: rows_in(out) > reached + 3, process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_request_to_end_before_the_first_step_leaves_nothing(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "out"
    with training(place, "endless.json", out) as process:
        wait_for(lambda: (out / files.MARK).exists(), process)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=_SECONDS)[1]
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "Traceback" not in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_demo_that_is_asked_to_stop_goes_on_with_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "sightweave", "demo", "--quick", "--out", str(out)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: rows_in(out) > 0, process)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=_SECONDS)[0]
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert "Stopped; the progress so far is saved in" in said
    assert not (out / "evaluation.json").exists()


def test_a_killed_run_says_so_everywhere_and_can_be_replaced(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    with training(place, "saving.json", out) as process:
        wait_for(lambda: (out / "run.json").exists() and facts(out)["steps"] > 0, process)
        process.kill()
        process.communicate()
    told = f"training is unfinished: it was interrupted after step {facts(out)['steps']:,}"
    found = sightweave.evaluate(out, controls=[])
    assert told in caplog.text
    assert any(told in note for one in found for note in one.notes)
    assert told in (out / "report.html").read_text(encoding="utf-8")
    with pytest.raises(
        RecipeError, match=rf"{told[:40]}.*\n.*stages.0.steps: {_ENDLESS} -> 2\n.*allow_changes=True"
    ):
        sightweave.train(recipe(place, 2, save_every=1), out=out)
    (out / "notes.txt").write_text("mine")
    assert not sightweave.train(recipe(place, 2), out=out, overwrite=True, evaluate=False).unfinished
    assert not sightweave.load(out).unfinished
    assert (facts(out)["steps"], rows_in(out)) == (2, 2)
    assert not (out / "evaluation.json").exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_a_run_killed_before_its_first_checkpoint_says_so_and_is_replaced(
    place: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with training(place, "endless.json", out) as process:
        wait_for(lambda: rows_in(out) > 0, process)
        process.kill()
        process.communicate()
    page = sightweave.report(out).read_text(encoding="utf-8")
    assert "interrupted before its first checkpoint" in page
    sightweave.train(recipe(place, 2), out=out, evaluate=False)
    assert (facts(out)["steps"], rows_in(out)) == (2, 2)


def test_a_second_command_on_a_folder_is_refused_while_the_first_one_writes(
    place: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with training(place, "saving.json", out) as process:
        wait_for(lambda: (out / "checkpoint").exists(), process)
        in_use = rf"out: in use by process {process.pid} on .*'training'"
        for overwrite in (False, True):
            with pytest.raises(FolderError, match=in_use):
                sightweave.train(recipe(place, 2), out=out, overwrite=overwrite)
        with pytest.raises(FolderError, match=in_use):
            sightweave.evaluate(out, controls=[])
        sightweave.evaluate(out, controls=[], out=tmp_path / "elsewhere")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM
    sightweave.evaluate(out, controls=[])


@pytest.mark.parametrize("where", ["", "checkpoint"])
def test_a_run_killed_between_two_renames_is_found(trained: Path, where: str) -> None:
    (trained / "checkpoint").rename(trained / ".checkpoint.previous")
    run = sightweave.load(trained / where)
    assert run.generate(None, "What is it?", max_tokens=2).tokens
    assert sightweave.evaluate(trained / where, controls=[], out=trained / "scores")
    with pytest.raises(FolderError, match=": already holds a trained run;"):
        sightweave.train(recipe(trained, 3), out=trained)


NAMES = (
    "recipe.yaml",
    "run.json",
    "metrics.jsonl",
    "evaluation.json",
    "predictions.jsonl",
    "answers.jsonl",
    "quarantine.jsonl",
    "rows-left-out.jsonl",
    "report.html",
    "gallery",
    "checkpoint",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("overwrite", [False, True])
def test_training_leaves_files_of_the_user_alone(
    place: Path, tmp_path: Path, name: str, overwrite: bool
) -> None:
    mine = tmp_path / "out" / name
    mine = mine / "0000.png" if name in ("gallery", "checkpoint") else mine
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(FolderError, match=rf"out: holds {name}, which Sightweave did not write"):
        sightweave.train(recipe(place, 1), out=tmp_path / "out", overwrite=overwrite)
    assert mine.read_text() == "mine"
    assert [one.name for one in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize(
    "name", ["evaluation.json", "predictions.jsonl", "answers.jsonl", "report.html", "gallery"]
)
def test_evaluating_leaves_files_of_the_user_alone(place: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(FolderError, match=rf"holds {name}, which Sightweave did not write"):
        sightweave.evaluate(place / "trained", controls=[], out=tmp_path, fresh=True)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["report.json", "report.html", "pictures.sqlite"])
def test_checking_data_leaves_files_of_the_user_alone(place: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(FolderError, match=rf"holds {name}, which Sightweave did not write"):
        sightweave.check_data(place / "data", out=tmp_path)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["comparison.json", "comparison.html", "steps.json"])
def test_comparing_leaves_files_of_the_user_alone(place: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(FolderError, match=rf"holds {name}, which Sightweave did not write"):
        sightweave.compare(place / "endless.json", "seed=0,1", out=tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_a_page_a_sheet_and_answers_take_no_place_of_the_users_files(
    place: Path,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = str(place / "data")
    for words in (
        ["beside", str(trained), str(trained)],
        ["data", "sample", data],
        ["generate", str(trained), "--data", data],
    ):
        out = tmp_path / "out"
        monkeypatch.setattr(sys, "argv", ["sightweave", *words, "--out", str(out)])
        for _ in range(2):  # its own file is replaced
            with contextlib.suppress(SystemExit):
                cli.main()
            assert "error:" not in capsys.readouterr().err
        out.write_text('{"image": "a.png", "caption": "mine"}\n')
        with pytest.raises(SystemExit):
            cli.main()
        assert "out: this file was not written by Sightweave" in capsys.readouterr().err
        assert "mine" in out.read_text()
        out.unlink()


@pytest.mark.parametrize("to", ["onnx", "custom_code"])
def test_exporting_leaves_files_of_the_user_alone(trained: Path, tmp_path: Path, to: str) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "manifest.json").write_text('{"name": "an extension of a browser"}')
    with pytest.raises(SightweaveError, match=r"holds manifest\.json"):
        sightweave.export(trained, to=to, out=out)
    assert [one.name for one in out.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(
    "settings",
    [
        {"data": "nowhere"},
        {"model": {**tiny.MODEL, "encoder": "nobody/no-such-model"}},
        {"inputs": {"vocab_size": 3}},
    ],
)
def test_a_training_that_fails_leaves_no_empty_folders(
    place: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises((SightweaveError, OSError)):
        sightweave.train(recipe(place, 1) | settings, out=tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_a_training_that_fails_keeps_the_run_that_it_was_to_replace(place: Path, trained: Path) -> None:
    before = sorted(trained.rglob("*"))
    with pytest.raises(SightweaveError):
        sightweave.train(recipe(place, 1) | {"inputs": {"vocab_size": 3}}, out=trained, overwrite=True)
    assert set(before) <= set(trained.rglob("*"))
    sightweave.load(trained)


def test_every_file_of_a_run_is_readable_as_the_umask_says(place: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        sightweave.train(recipe(place, 1), out=tmp_path / "out")
    finally:
        os.umask(before)
    modes = {
        one.name: stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "out").rglob("*") if one.is_file()
    }
    assert "model.safetensors" in modes
    assert set(modes.values()) == {0o640}, modes


TORN = (
    "run.json",
    "recipe.yaml",
    "metrics.jsonl",
    "evaluation.json",
    "predictions.jsonl",
    "gallery/index.json",
)


@pytest.mark.parametrize("name", TORN)
def test_a_torn_file_ends_in_one_sentence_or_is_read_up_to_there(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    whole = (trained / name).read_bytes()
    for share in range(8):
        (trained / name).write_bytes(whole[: len(whole) * share // 8])
        for words in (["report", str(trained)], ["beside", str(trained), str(trained)]):
            monkeypatch.setattr(sys, "argv", ["sightweave", *words])
            with contextlib.suppress(SystemExit):
                cli.main()
            assert "Traceback" not in capsys.readouterr().err
        sightweave.load(trained)
    (trained / name).write_bytes(whole)
    sightweave.report(trained)


def test_a_torn_line_of_the_curves_costs_that_line(trained: Path) -> None:
    metrics = trained / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes() + b'{"step": 2, "lo\xc3')
    page = sightweave.report(trained).read_text(encoding="utf-8")
    assert "loss" in page


def test_facts_that_are_torn_are_named_with_their_file(trained: Path) -> None:
    (trained / "run.json").write_text('{"seed": ')
    with pytest.raises(SightweaveError, match=r"run\.json: not valid JSON"):
        runs.facts_of(trained)
    assert not sightweave.load(trained).unfinished
