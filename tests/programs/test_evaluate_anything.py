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
from typing import Any

import numpy as np
import pytest
from _endpoint_server import serving

import sightweave
from sightweave import api
from sightweave.core.errors import BackendError, DataError, RecipeError
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

    plain = (*settings, "tasks.vqa.list_options=false")  # the run was trained without a list
    with serving(answer) as server:
        served = api.evaluate(server.url, *plain, data=rows(), out=tmp_path / "served")
        asked = len(server.asked)
        assert 0 < asked < 4 * 48  # equal prompts of the blind passes are asked once
        again = api.evaluate(server.url, *plain, data=rows(), out=tmp_path / "served")
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
    found = api.evaluate(run.folder, data=rows(), max_images=4)
    where = run.folder / "evaluations" / "records"
    assert (where / "report.html").is_file()
    assert not (run.folder / "evaluation.json").exists()
    assert found[0].pictures == 4

    # A setting that names other data is the same thing as the argument.
    api.evaluate(run.folder, "data={kind: scenes, seed: 1}", splits=["scenes"], max_images=1, controls=[])
    assert (run.folder / "evaluations" / "kind-scenes-seed-1" / "report.html").is_file()
    assert not (run.folder / "evaluation.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_evaluation_asks_nothing_twice(run: api.Run, tmp_path: Path) -> None:
    words = ["-m", "sightweave", "evaluate", str(run.folder), "--data", "{kind: scenes}", "--split", "scenes"]
    words += ["--max-images", "200", "--out", "out"]
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
    assert "answers reused," in notes.replace("\n", " ")
    lines = kept.read_bytes().splitlines()
    assert lines[: len(before) - 1] == before[:-1]  # the last one may be torn
    keys = [json.loads(line)["key"] for line in lines]
    assert len(keys) == len(set(keys))


def test_what_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nowhere: file or folder not found"):
        api.evaluate("nowhere", data=rows())
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(
        RecipeError,
        match=r"notes.txt: not a run .*, a Transformers folder .*; state what it is",
    ):
        api.evaluate(tmp_path / "notes.txt", data=rows())
    with pytest.raises(RecipeError, match=r"who: .*Did you mean 'endpoint'|no predictors kind 'endpoin'"):
        api.evaluate("{kind: endpoin, url: http://localhost:1/v1}", data=rows())
    with pytest.raises(RecipeError, match="data: the recipe has no source; set data=scenes or"):
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


CHOICES = {"red": ("blue", "red", "green"), "dog": ("dog", "cat"), "up": ("down", "left", "up")}


def choices() -> list[dict[str, object]]:
    """Questions that nobody can answer without their options."""
    return [
        {
            "id": f"q{number}",
            "image": np.full((8, 8, 3), 40 * number, np.uint8),
            "question": "Which word is meant?",
            "answer": answer,
            "options": list(options),
            "split": "test",
        }
        for number, (answer, options) in enumerate(CHOICES.items())
    ]


def by_letter(sample: Sample, max_tokens: int) -> Prediction:
    """Reads the list of options, and answers as chat models do."""
    lines = dict(reversed(line.split(". ", 1)) for line in sample.prompt.splitlines() if ". " in line)
    known = [word for word in CHOICES if word in lines]
    return Prediction(f"**{lines[known[0]]}. {known[0]}**" if known else "I cannot know.", -0.1, 3)


def test_others_are_shown_the_options_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = {"data": choices(), "controls": ["no_image"]}
    with serving(by_letter) as server:
        (found,) = api.evaluate(server.url, out=tmp_path / "listed", **settings)
        prompts = {
            body["messages"][0]["content"][-1]["text"] for body in server.asked if "image_url" in str(body)
        }
        assert "Which word is meant?\nA. blue\nB. red\nC. green" in prompts
        assert (found.tasks[0].metric, found.tasks[0].score.value) == ("multiple_choice", 1.0)
        assert not any("options" in note for note in found.notes)

        (plain,) = api.evaluate(
            server.url, "tasks.vqa.list_options=false", out=tmp_path / "plain", **settings
        )
    assert plain.tasks[0].score.value == 0.0
    assert (
        "vqa: 3 of 3 prompts do not list their options; set tasks.vqa.list_options=true to list them."
        in plain.notes
    )

    # Both were asked the same questions, so they can be put side by side.
    _, text = api.beside(tmp_path / "listed", tmp_path / "plain")
    assert "3 samples on 3 images were asked in both." in text

    # A file may answer with letters, and may have been asked with or without the list.
    file = tmp_path / "letters.jsonl"
    for prompt in ("Which word is meant?", "Which word is meant?\nA. dog\nB. cat"):
        by_id = [{"id": "q0", "answer": "B"}, {"id": "q2", "answer": "(C)"}]
        by_prompt = {"image": "q1-image", "prompt": prompt, "answer": "A"}
        lines = [*by_id, by_prompt | {"image": found.items[1].answer.image}]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        (filed,) = api.evaluate(file, data=choices(), out=tmp_path / "filed")
        assert filed.tasks[0].score.value == 1.0


def test_texts_with_line_separators_reach_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    odd = "one\u2028two\u2029three\x85four\x0bfive\x0csix\x1cseven\x1deight\x1enine"
    data = [row | {"question": f"{odd}?", "options": [odd, "x"], "answer": odd} for row in choices()]
    with serving(lambda sample, max_tokens: Prediction(odd, -0.1, 3)) as server:
        for name in ("first", "second"):
            (found,) = api.evaluate(server.url, data=data, controls=["no_image"], out=tmp_path / name)
            assert found.tasks[0].score.value == 1.0
            assert {item.answer.text for item in found.items} == {odd}
    assert api.report(tmp_path / "first").is_file()
    assert api.beside(tmp_path / "first", tmp_path / "second")[0].is_file()
    written = (tmp_path / "first" / "predictions.jsonl").read_text(encoding="utf-8")
    assert len(written.splitlines()) == 3  # also for readers that cut at every separator


def test_a_server_that_is_hard_to_please_is_scored_with_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def judge(body: Any) -> tuple[int, Any] | None:
        if "down" in str(body["messages"]):
            return 400, {"error": {"message": "Stopped by the policy.", "code": "content_filter"}}
        return (200, {"choices": []}) if "cat" in str(body["messages"]) else None

    def thinking(sample: Sample, max_tokens: int) -> Prediction:
        said = by_letter(sample, max_tokens)
        return Prediction(f"<think>A. blue? No.</think>{said.text}", said.logprob, said.tokens)

    who = "{kind: endpoint, url: URL, retries: 0}"
    options = {"data": choices(), "controls": ["no_image"], "out": tmp_path / "out"}
    with serving(thinking, refuses=("temperature", "max_tokens"), judge=judge) as server:
        (found,) = api.evaluate(who.replace("URL", server.url), **options)
        asked = len(server.asked)
        (again,) = api.evaluate(who.replace("URL", server.url), **options)
        assert len(server.asked) > asked  # what had no choices is asked again
        fresh = api.evaluate(who.replace("URL", server.url), fresh=True, **options)
    score = found.tasks[0]
    assert (score.count, score.correct, score.unparsed) == (3, 1, 2)
    notes = " ".join(found.notes)
    assert "refused 2 of 6 prompts" in notes
    assert "'q2' (status 400: Stopped by the policy)" in notes
    assert "2 of 6 prompts got no answer" in notes
    assert "'q1' (the response has no choices (got []))" in notes
    assert "2 of 6 answers had a thinking block" in notes
    assert "2 of 6 answers are not greedy" in notes
    assert again.notes == found.notes == fresh[0].notes

    with (
        serving(thinking, judge=lambda body: (400, {"error": "No pictures here."})) as server,
        pytest.raises(
            BackendError, match="none of the first 3 prompts was answered: status 400: No pictures"
        ),
    ):
        api.evaluate(who.replace("URL", server.url), **options | {"out": tmp_path / "none"})

    # A model that takes no prompt without a picture loses that control alone.
    def sees(body: Any) -> tuple[int, Any] | None:
        return None if "image_url" in str(body["messages"]) else (422, {"detail": "A picture is needed."})

    with serving(by_letter, judge=sees) as server:
        (found,) = api.evaluate(who.replace("URL", server.url), **options | {"out": tmp_path / "sees"})
    assert found.tasks[0].score.value == 1.0
    assert any(
        "The control no_image was skipped" in note and "A picture is needed" in note for note in found.notes
    )
