"""One run, evaluated directly, behind a server, and by a file of its answers: the same scores by the same command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from _endpoint_server import serving

import sightweave
from sightweave import api
from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Prediction, Sample
from sightweave.programs.evaluation.scores import Evaluation

SOURCE = Path(sightweave.__file__).parents[1]
SHADES = ("black", "grey", "white")


def rows() -> list[dict[str, object]]:
    """Pictures of three shades, each a little different; 30 to learn from and 24 held out."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(54):
        shade = number % 3
        pixels = np.clip(120 * shade + rng.integers(-9, 9, (16, 16, 3)), 0, 255).astype(np.uint8)
        split = "train" if number < 30 else "test"
        common = {"image": pixels, "split": split, "group": f"p{number}"}
        made.append(
            common
            | {
                "id": f"q{number}",
                "question": "Which shade is it?",
                "answer": SHADES[shade],
                "options": list(SHADES),
            }
        )
        made.append(common | {"id": f"c{number}", "caption": f"A {SHADES[shade]} picture."})
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    folder = tmp_path_factory.mktemp("anything") / "run"
    settings = ("train.stages.0.steps=60", "evaluate.max_tokens=8")
    return api.train("recipes/digits.yaml", *settings, data=rows(), out=folder, evaluate=False)


def numbers(found: list[Evaluation]) -> list[tuple[str, float, dict[str, float]]]:
    return [
        (task.task, task.score.value, {name: one.value for name, one in task.controls.items()})
        for one in found
        for task in one.tasks
    ]


@pytest.mark.slow
def test_the_same_numbers_whoever_is_asked(
    run: api.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = ("evaluate.max_tokens=8", "tasks.vqa.metrics=[exact_match, choice_likelihood]")
    direct = api.evaluate(run, *settings, data=rows(), out=tmp_path / "direct")
    scores = {task.task: task for task in direct[0].tasks}
    assert scores["vqa"].score.value > 0.9
    assert scores["vqa"].metrics["choice_likelihood"].value > 0.9
    assert scores["vqa"].uses_image == "yes"
    assert set(scores["vqa"].controls) == {"no_image", "shuffled_image", "blank_image"}
    lock = threading.Lock()

    def answer(sample: Sample, max_tokens: int) -> Prediction:
        with lock:
            return run.predict([sample], max_tokens=max_tokens)[0]

    with serving(answer) as server:
        served = api.evaluate(server.url, *settings, data=rows(), out=tmp_path / "served")
        asked = len(server.asked)
        assert 0 < asked < 4 * 48  # equal prompts of the blind passes are asked once
        again = api.evaluate(server.url, *settings, data=rows(), out=tmp_path / "served")
        assert len(server.asked) == asked  # all answers were kept
    assert numbers(served) == numbers(again) == numbers(direct)
    assert any("choice_likelihood was not computed" in note for note in served[0].notes)

    # A file of the same answers: the same scores, and no controls.
    file = tmp_path / "answers.jsonl"
    file.write_text(
        "".join(json.dumps({"id": item.id, "answer": item.answer.text}) + "\n" for item in direct[0].items),
        encoding="utf-8",
    )
    filed = api.evaluate(file, *settings, data=rows(), out=tmp_path / "filed")
    assert [(task, score) for task, score, _ in numbers(filed)] == [
        (task, score) for task, score, _ in numbers(direct)
    ]
    assert all(not controls for _, _, controls in numbers(filed))
    assert any("there are no controls" in note for note in filed[0].notes)
    document = json.loads((tmp_path / "filed" / "evaluation.json").read_text(encoding="utf-8"))
    assert document["who"].endswith("answers.jsonl")

    # Side by side nothing differs.
    path, text = api.beside(tmp_path / "direct", tmp_path / "served")
    assert path.is_file()
    assert "vqa" in text


@pytest.mark.slow
def test_an_own_run_goes_by_its_folder_and_keeps_both_evaluations(run: api.Run, tmp_path: Path) -> None:
    assert run.folder is not None
    found = api.evaluate(run.folder, data=rows(), pictures=4)
    where = run.folder / "evaluations" / "records"
    assert (where / "report.html").is_file()
    assert not (run.folder / "evaluation.json").exists()
    assert found[0].pictures == 4


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_evaluation_asks_nothing_twice(run: api.Run, tmp_path: Path) -> None:
    words = ["-m", "sightweave", "evaluate", str(run.folder), "--data", "{kind: scenes}", "--split", "scenes"]
    words += ["--pictures", "200", "--out", "out"]
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    process = started()
    kept = tmp_path / "out" / "answers.jsonl"
    end = time.monotonic() + 300
    while not kept.exists() or kept.stat().st_size == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out" / "evaluation.json").exists()
    before = kept.read_bytes().splitlines()
    said, notes = (process := started()).communicate(timeout=600)
    assert process.returncode == 0, notes
    assert "This model uses the image" in said
    assert "answers were kept from before" in notes.replace("\n", " ")
    lines = kept.read_bytes().splitlines()
    assert lines[: len(before) - 1] == before[:-1]  # the last one may be torn
    keys = [json.loads(line)["key"] for line in lines]
    assert len(keys) == len(set(keys))


def test_what_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nowhere: no such folder or file"):
        api.evaluate("nowhere", data=rows())
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"notes.txt: no run .* no Transformers folder .* say what it is"):
        api.evaluate(tmp_path / "notes.txt", data=rows())
    with pytest.raises(RecipeError, match=r"who: .*Did you mean 'endpoint'|no predictors kind 'endpoin'"):
        api.evaluate("{kind: endpoin, url: http://localhost:1/v1}", data=rows())
    with pytest.raises(RecipeError, match="names no source; set data=scenes, data=FOLDER, or give records"):
        api.evaluate("{kind: endpoint, url: 'http://localhost:1/v1', model: m}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"id": "q31", "answer": "grey"}]', r"ids? .*missing|missing"),
        ('{"id": "q31", "answer": "grey"}\n{"id": "q31", "answer": "white"}\n', "q31"),
        ('{"id": "x", "answer": "grey"}\n', "x"),
        ("\xff\xfe", "UTF-8"),
    ],
)
def test_bad_files_of_answers_are_one_error(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=words):
        api.evaluate(file, data=rows(), out=tmp_path / "out")
