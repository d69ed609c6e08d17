"""An evaluation and a cache of images in two processes are those of one process, and end with either of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import many_evaluations
import pytest
import tiny
from PIL import Image

import sightweave
from sightweave.core.errors import BackendError, RecipeError
from sightweave.data.inputs.cache import PixelCache
from sightweave.programs.evaluation.sharing import Sharing
from sightweave.programs.predictors import answers
from sightweave.programs.training.world import World

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
TESTS = Path(many_evaluations.__file__).parent
LIMIT = 900.0
"""Seconds after which processes that wait for one another for ever are killed; no test waits for it."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a test split of nine images, one of which has no question."""
    folder = tmp_path_factory.mktemp("run")
    rows = []
    for number in range(12):
        Image.new("RGB", (8, 8), (20 * number, 255 - 20 * number, 90)).save(folder / f"{number}.png")
        image = {"image": f"{number}.png", "split": "train" if number < 3 else "test"}
        rows.append(image | {"caption": f"an image of kind {number % 3}"})
        if number != 7:
            for word in ("first", "second"):
                rows.append(
                    image | {"question": f"What is the {word} of {number}?", "answer": str(number % 3)}
                )
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data.jsonl").write_text(text, encoding="utf-8")

    train = {"stages": [{"steps": 3, "batch_size": 2}], "num_threads": 1, "precision": "fp32", "check": False}
    recipe = {"data": str(folder), "model": tiny.MODEL, "inputs": {"vocab_size": 300}, "train": train}
    evaluate = {"max_tokens": 6, "controls": ["no_image", "shuffled_image"]}
    recipe["evaluate"] = evaluate
    sightweave.train(recipe, out=folder / "run", evaluate=False, progress=False)
    return folder / "run"


def started(run: Path, folder: Path, case: str) -> list[dict[str, Any]]:
    """What each of two processes found; None for one that found nothing."""
    folder.mkdir()
    path = os.pathsep.join(map(str, (Path(sightweave.__file__).parents[1], TESTS)))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    process = subprocess.Popen(
        [sys.executable, many_evaluations.__file__, str(run), str(folder), "2", case],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, complaints = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail("processes that wait for one another for ever")

    found = []
    for rank in range(2):
        file = folder / f"{rank}.json"
        found.append(json.loads(file.read_text()) if file.exists() else {"died": complaints})
    return found


def assert_rows(folder: Path, expected: Path, *, by: str = "") -> None:
    """The rows of two files are equal, in any order if they have a key, except for the last digits of fractions.

    These depend on the other rows of a batch.
    """
    found = []
    for path in (folder, expected):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        fractions: list[float] = []
        text = json.dumps(sorted(rows, key=lambda row: row[by]) if by else rows)
        found.append(
            (json.loads(text, parse_float=lambda one, some=fractions: some.append(float(one))), fractions)
        )

    (rows, fractions), (other_rows, other_fractions) = found
    assert rows == other_rows
    assert fractions == pytest.approx(other_fractions, abs=1e-4)


def test_two_processes_find_what_one_finds(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    sightweave.evaluate(run, out=alone, trust_run=True, progress=False)
    first, second = started(run, tmp_path / "two", "whole")
    both = tmp_path / "two" / "out"

    assert first["splits"] == ["test"]
    assert second["splits"] == []
    assert 0 < sum(second["calls"]) < sum(first["calls"] + second["calls"])
    assert_rows(both / "answers.jsonl", alone / "answers.jsonl", by="key")
    assert_rows(both / "predictions.jsonl", alone / "predictions.jsonl")
    assert sorted(path.name for path in both.iterdir()) == sorted(path.name for path in alone.iterdir())

    documents = [json.loads((one / "evaluation.json").read_text()) for one in (both, alone)]
    for one in documents:
        one.pop("seconds")
    assert documents[0].keys() == documents[1].keys()
    assert documents[0]["answers"] == documents[1]["answers"]
    assert documents[0]["data"] == documents[1]["data"]
    for task, other in zip(
        documents[0]["splits"][0]["tasks"], documents[1]["splits"][0]["tasks"], strict=True
    ):
        assert task["score"] == other["score"]
        assert task["controls"] == other["controls"]

    # What they answered is reused.
    shutil.copytree(both, tmp_path / "again")
    sightweave.evaluate(run, out=tmp_path / "again", trust_run=True, progress=False)
    document = json.loads((tmp_path / "again" / "evaluation.json").read_text())
    assert document["answers"]["new"] == 0


def test_a_process_that_is_killed_ends_the_other(run: Path, tmp_path: Path) -> None:
    first, second = started(run, tmp_path / "two", "killed")
    assert first["name"] == "OtherProcessError"
    assert "another process stopped" in first["error"]
    assert "died" in second
    assert not (tmp_path / "two" / "out" / "evaluation.json").exists()


def test_an_error_of_one_process_is_that_of_all_and_printed_once(run: Path, tmp_path: Path) -> None:
    for found, is_reported in zip(started(run, tmp_path / "two", "failed"), (False, True), strict=True):
        assert found["error"] == "process 1 cannot read an image"
        assert found["name"] == "DataError"
        assert found["is_reported"] == is_reported


def test_two_processes_cache_the_images_that_one_caches(run: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(run.parent, data)
    (data / "5.png").write_bytes((data / "5.png").read_bytes()[:45])  # with its header only
    alone = sightweave.cache_data(run / "recipe.yaml", data=str(data), out=tmp_path / "alone", progress=False)
    found = started(data / "run", tmp_path / "two", "cache")
    both = tmp_path / "two" / "out"

    assert alone.left_out
    assert found == [{"pictures": alone.pictures, "left_out": sorted(alone.left_out)}] * 2
    assert [path.name for path in both.parent.iterdir() if path.name.startswith(".")] == []
    assert len(PixelCache.open(both)) == alone.pictures
    items = [json.loads((one / "index.json").read_text())["items"] for one in (tmp_path / "alone", both)]
    for one in items:
        for item in one.values():  # the order of the images differs
            del item["shard"], item["row"]
    assert items[0] == items[1]


def test_answers_from_elsewhere_are_not_shared(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"id": "1", "answer": "red"}\n', encoding="utf-8")
    predictor = answers.Config(path=str(tmp_path / "answers.jsonl")).build()
    with pytest.raises(BackendError, match="so 2 processes cannot share the prompts"):
        Sharing(predictor, World(0, 2))


def test_processes_that_were_not_started_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(RecipeError, match="processes is 3, but 1 process"):
        sightweave.evaluate(tmp_path, processes=3)
