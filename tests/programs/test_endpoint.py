"""A real run behind a real server: asked over HTTP it answers as it does directly, kept or not, and Ctrl-C ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from _endpoint_server import Server, serving

import sightweave
from sightweave import api
from sightweave.core import catalog
from sightweave.core.errors import BackendError
from sightweave.core.types import Part, Prediction, Sample
from sightweave.data.datasets import own
from sightweave.data.reading.dataset import task_of
from sightweave.programs.evaluation.controls import CONTROLS
from sightweave.programs.evaluation.kept import Kept
from sightweave.programs.predictors import answers, endpoint

SOURCE = Path(sightweave.__file__).parents[1]
RECIPE = {
    "data": {"kind": "scenes", "size": 6, "items_per_image": 4},
    "model": {
        "encoder": {"kind": "cnn", "image_size": 32, "channels": [8, 16], "blocks": [0, 0]},
        "connector": {"kind": "pool", "side": 2},
        "fusion": "concat",
        "language_model": {"kind": "decoder_only", "dim": 32, "depth": 2, "num_heads": 2, "hidden_dim": 64},
    },
    "inputs": {"vocab_size": 600},
    "train": {
        "num_threads": 1,
        "precision": "fp32",
        "stages": [{"name": "answers", "steps": 1, "batch_size": 2}],
    },
}
MAX_TOKENS = 6


@pytest.fixture(scope="module")
def run() -> api.Run:
    """Untrained, and moved away from its start, where nothing flows and every answer is the same."""
    made = sightweave.build(RECIPE)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter += 0.4 * torch.randn(parameter.shape, generator=generator)
    return made


@pytest.fixture(scope="module")
def samples(run: api.Run) -> list[Sample]:
    tasks = run.recipe.build_tasks()
    data = run.recipe.data[0].build(split="train")
    return [
        tasks[task_of(record)].sample(record)
        for records in data
        for record in records
        if task_of(record) in tasks
    ]


@pytest.fixture
def answering(run: api.Run) -> Callable[[Sample, int], Prediction]:
    lock = threading.Lock()  # a model answers one request after the other

    def answer(sample: Sample, max_tokens: int) -> Prediction:
        with lock:
            return run.predict([sample], max_tokens=max_tokens)[0]

    return answer


@pytest.fixture
def server(
    answering: Callable[[Sample, int], Prediction], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(answering) as shared:
        yield shared


def directly(answering: Callable[[Sample, int], Prediction], samples: list[Sample]) -> list[Prediction]:
    return [answering(sample, MAX_TOKENS) for sample in samples]


def same(found: list[Prediction], wanted: list[Prediction]) -> bool:
    assert len({one.text for one in wanted}) > len(wanted) / 2  # or agreement would mean nothing
    assert [(one.text, one.finish, one.tokens) for one in found] == [
        (one.text, one.finish, one.tokens) for one in wanted
    ]
    return [one.logprob for one in found] == pytest.approx([one.logprob for one in wanted], rel=1e-5)


def test_over_http_it_answers_as_it_does_directly(
    server: Server, answering: Callable[[Sample, int], Prediction], samples: list[Sample]
) -> None:
    found = endpoint.Config(url=server.url, num_concurrent=4).build()
    assert same(found.predict(samples, max_tokens=MAX_TOKENS), directly(answering, samples))
    assert len(server.asked) == len(samples)
    for control in ("no_image", "shuffled_image"):
        others = list(CONTROLS[control](samples, 0).values())
        wanted = directly(answering, others)
        assert [one.text for one in wanted] != [one.text for one in directly(answering, samples)]
        assert same(found.predict(others, max_tokens=MAX_TOKENS), wanted)


def test_a_server_that_wants_the_newer_fields_answers_the_same(
    server: Server, answering: Callable[[Sample, int], Prediction], samples: list[Sample]
) -> None:
    server.refuses = ("max_tokens", "seed")
    server.key = "another-key"
    os.environ["SIGHTWEAVE_TEST_KEY"] = "another-key"
    try:
        found = endpoint.Config(url=server.url, key_variable="SIGHTWEAVE_TEST_KEY").build()
    finally:
        del os.environ["SIGHTWEAVE_TEST_KEY"]
    assert same(found.predict(samples, max_tokens=MAX_TOKENS), directly(answering, samples))


def test_kept_answers_of_a_server_are_not_asked_for_again(
    server: Server, answering: Callable[[Sample, int], Prediction], samples: list[Sample], tmp_path: Path
) -> None:
    config = endpoint.Config(url=server.url)
    first = Kept(config.build(), tmp_path / "kept.jsonl", max_tokens=MAX_TOKENS, pictures_at_once=2)
    wanted = directly(answering, samples)
    assert same(first(samples), wanted)
    asked = len(server.asked)
    again = Kept(config.build(), tmp_path / "kept.jsonl", max_tokens=MAX_TOKENS)
    assert again(samples) == first(samples)
    assert (len(server.asked), again.asked, again.reused) == (asked, 0, len(samples))


def test_a_server_that_goes_away_costs_no_answer_that_came(tmp_path: Path) -> None:
    samples = [Sample(id=str(n), task="vqa", parts=(Part("user", f"question {n}?"),)) for n in range(40)]
    path = tmp_path / "kept.jsonl"
    count = threading.Semaphore(20)  # so many are answered

    def judge(body: object) -> tuple[int, object] | None:
        return None if count.acquire(blocking=False) else (402, {"error": "no money left"})

    with serving(lambda sample, _: Prediction(sample.prompt, -0.1, 1), judge=judge) as server:
        config = endpoint.Config(url=server.url, num_concurrent=1)
        with pytest.raises(BackendError, match="no money left"):
            Kept(config.build(), path, max_tokens=MAX_TOKENS)(samples)
        assert len(path.read_bytes().splitlines()) == 20
        server.judge = lambda body: None
        kept = Kept(config.build(), path, max_tokens=MAX_TOKENS)
        assert [one.text for one in kept(samples)] == [sample.prompt for sample in samples]
    assert (kept.asked, kept.reused) == (20, 20)
    keys = [json.loads(line)["key"] for line in path.read_bytes().splitlines()]
    assert len(set(keys)) == len(keys) == 40  # each once


def test_it_is_found_by_its_address(server: Server) -> None:
    assert "endpoint" in catalog.kinds("programs.predictors")
    assert endpoint.recognise(server.url)


def test_what_generate_writes_is_read_as_answers(run: api.Run, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    rows = [
        {"image": drawn.integers(0, 256, (9, 9, 3), np.uint8), "question": "what?", "answer": "x"}
        for _ in range(4)
    ]
    rows += [{**row, "question": "why?", "id": f"q{n}"} for n, row in enumerate(rows)]
    path = tmp_path / "answers.jsonl"
    said = list(api.answer_all(run, rows, max_tokens=MAX_TOKENS))
    path.write_text("".join(json.dumps(row) + "\n" for row in said), encoding="utf-8")
    tasks = run.recipe.build_tasks()
    data = own.from_records(rows, labelled=False, held_out=0.0)
    asked = [tasks[task_of(record)].sample(record) for records in data for record in records]
    found = answers.Config(path=str(path)).build().predict(asked[::-1])
    assert [one.text for one in found] == [row["answer"] for row in said][::-1]
    assert [one.logprob for one in found] == [row["logprob"] for row in said][::-1]
    assert len({one.logprob for one in found}) == 8  # each is told from all others


INTERRUPTED = """
import signal
from sightweave.core.types import Part, Sample
from sightweave.programs.predictors import endpoint

signal.signal(signal.SIGINT, signal.default_int_handler)  # what began the tests may ignore it
samples = [Sample(id=str(n), task="vqa", parts=(Part("user", f"question {{n}}?"),)) for n in range(20)]
found = endpoint.Config(url={url!r}, model="m", timeout=600, num_concurrent=4).build()
try:
    found.predict(samples)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_it_while_the_server_is_silent() -> None:
    free = threading.Event()

    def silent(sample: Sample, max_tokens: int) -> Prediction:
        free.wait(120)
        return Prediction("late", logprob=-1.0, tokens=1)

    with serving(silent) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED.format(url=server.url)],
            env={key: value for key, value in os.environ.items() if key != "OPENAI_API_KEY"}
            | {"PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            end = time.monotonic() + 60
            while len(server.asked) < 4:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
            free.set()
    assert said == "interrupted\n"
    assert process.returncode == 0
