"""``sightweave compare``: a grid of real runs, two at a time, stopped in between and gone on with."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sightweave
from sightweave.comparison import compare as comparison
from sightweave.programs.training.logs import read_metrics

SOURCE = Path(sightweave.__file__).parents[1]
RECIPE = """\
data: {kind: scenes, size: 30, items_per_image: 4, tasks: [captioning, vqa]}
model:
  encoder: {kind: cnn, image_size: 32, channels: [8, 16], blocks: [0, 0]}
  connector: {kind: pool, side: 2}
  fusion: concat
  language_model: {kind: decoder_only, dim: 32, depth: 2, num_heads: 2, hidden_dim: 64}
inputs: {vocab_size: 600}
evaluate: {max_images: 2, max_tokens: 4, controls: [], splits: [scenes]}
train:
  num_threads: 1
  precision: fp32
  stages: [{name: answers, steps: 2, batch_size: 2}]
"""
GRID = ("model.fusion=concat,addition", "seed=0,1")


def started(folder: Path, *settings: str) -> subprocess.Popen[str]:
    words = ["-m", "sightweave", "compare", "recipe.yaml", *settings, "--out", "out", "--jobs", "2"]
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_comparison_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    process = started(tmp_path, *GRID)
    end = time.monotonic() + 300
    while not list((tmp_path / "out").glob("*/evaluation.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/evaluation.json")}

    said, notes = (process := started(tmp_path, *GRID)).communicate(timeout=600)
    assert process.returncode == 0, notes
    assert f"4 runs, {len(done)} already done" in notes
    assert all(path.stat().st_mtime_ns == before for path, before in done.items())
    table = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert table in said
    assert [line.split(" | ")[0] for line in table.splitlines()[4:6]] == ["| concat", "| addition"]
    document = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert [row["seeds"] for row in document["rows"]] == [[0, 1], [0, 1]]
    assert set(document["rows"][0]["scores"]) == {"captioning", "vqa"}
    assert [one["composition"] for one in document["differences"]] == ["addition", "addition"]
    assert [cell["steps"] for cell in document["cells"]] == [2, 2, 2, 2]

    # A run without scores is scored again, and not trained again.
    weights = tmp_path / "out" / "addition-seed1" / "checkpoint" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    (tmp_path / "out" / "addition-seed1" / "evaluation.json").write_text("[]", encoding="utf-8")
    _, notes = (process := started(tmp_path, *GRID)).communicate(timeout=600)
    assert process.returncode == 0, notes
    assert "4 runs, 3 already done, 1 more trained but not evaluated" in notes
    assert "addition-seed1: started (scores only)" in notes
    assert weights.stat().st_mtime_ns == before
    again = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert again["rows"] == document["rows"]

    # A changed recipe is another run; one that cannot be is refused before anything trains.
    _, notes = (process := started(tmp_path, *GRID, "train.stages.0.steps=3")).communicate(timeout=600)
    assert process.returncode == 0, notes
    assert "4 runs, 0 already done" in notes
    _, notes = (process := started(tmp_path, "model.fusion=concat,bilinear")).communicate(timeout=600)
    assert process.returncode == 1
    assert "error: " in notes
    assert "started" not in notes


@pytest.mark.slow
def test_minutes_become_steps_that_are_the_same_for_every_seed(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    words = (*GRID, "evaluate.splits=[scenes]", "--minutes", "0.03")
    _, notes = (process := started(tmp_path, *words)).communicate(timeout=600)
    assert process.returncode == 0, notes
    known = json.loads((tmp_path / "out" / "steps.json").read_text(encoding="utf-8"))
    assert len(known) == 2
    for fusion in ("concat", "addition"):
        trained = {
            json.loads((tmp_path / "out" / f"{fusion}-seed{seed}" / "run.json").read_text())["steps"]
            for seed in (0, 1)
        }
        assert len(trained) == 1
        assert [*trained] in known.values()
        # What the trial measured and the steps make the minutes: not more than one step too many or too few.
        trial = tmp_path / "out" / "trials" / f"{fusion}-seed0" / "metrics.jsonl"
        seconds = [json.loads(line)["seconds"] for line in trial.read_text().splitlines()]
        assert len(seconds) == 24
        assert trained.pop() == pytest.approx(0.03 * 60 / statistics.median(seconds[8:]), abs=1)
    _, notes = (process := started(tmp_path, *words)).communicate(timeout=600)
    assert process.returncode == 0, notes
    assert "4 runs, 4 already done" in notes
    assert "started" not in notes
    # Other things to measure train nothing again, and need no other trial.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/checkpoint/*.safetensors")}
    _, notes = (process := started(tmp_path, *words, "evaluate.max_images=1")).communicate(timeout=600)
    assert process.returncode == 0, notes
    assert "4 runs, 0 already done, 4 more trained but not evaluated" in notes
    assert len(before) == 4
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    document = json.loads((tmp_path / "out" / "addition-seed1" / "evaluation.json").read_text())
    assert document["splits"][0]["pictures"] == 1


@pytest.mark.slow
def test_tokens_become_steps_by_what_a_trial_counted(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    found = comparison.compare(
        tmp_path / "recipe.yaml",
        ["model.fusion=concat,addition", "evaluate.controls=[]"],
        out=tmp_path / "out",
        tokens=3000,
        against="addition",
        threads=1,
    )
    assert found.budget.text == "3000 tokens"
    assert [one.against for one in found.differences] == ["addition", "addition"]
    for row in found.rows:
        counted = {}
        for folder in (tmp_path / "out" / "trials" / row.name, tmp_path / "out" / row.name):
            rows = read_metrics(folder / "metrics.jsonl")
            counted[folder.parent.name] = sum(one["tokens_per_second"] * one["seconds"] for one in rows)
        each = counted["trials"] / 24
        assert row.steps == (max(1, round(3000 / each)),)
        # Other pictures come in the run than in its trial, or more of them.
        assert counted["out"] == pytest.approx(3000, rel=0.35, abs=each)
        facts = json.loads((tmp_path / "out" / row.name / "run.json").read_text())
        assert facts["tokens_shown"] == pytest.approx(counted["out"], rel=1e-6)


@pytest.mark.slow
def test_a_failing_run_is_named_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    _, notes = (process := started(tmp_path, "data=nowhere,scenes", "evaluate.splits=[]")).communicate(
        timeout=600
    )
    assert process.returncode == 1
    assert "error: failed: nowhere (status 1; see out/nowhere/log.txt)" in notes
    assert "nowhere" in (tmp_path / "out" / "nowhere" / "log.txt").read_text(encoding="utf-8")
