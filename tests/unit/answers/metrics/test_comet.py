"""COMET: what is asked of the other environment, and what happens where it is not there, fails, or talks nonsense.

The package itself is not installed here. Small programs of this test stand where its interpreter would, and say so;
they read the question that we send, and answer as written here: the numbers mean nothing.
"""

from __future__ import annotations

import fcntl
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sightweave.answers.metrics import comet
from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Sample
from sightweave.data.tasks import translation

ANSWERING = """
asked = json.loads(sys.stdin.buffer.read())
with open({log!r}, "a", encoding="utf-8") as log:
    log.write(json.dumps([asked, os.getcwd()]) + "\\n")
scores = [len(row["mt"]) / 100 + (row["src"] == "b") for row in asked["rows"]]
print(json.dumps({{"scores": scores, "version": "9.9"}}))
"""


def sample(name: str = "s1", source: str = "a", reference: str = "r") -> Sample:
    tags = {"source": source} if source else {}
    return Sample(id=name, task="translation", parts=(), references=(reference,), tags=tags)


def program(folder: Path, body: str) -> str:
    """A program that stands where the interpreter would: it is called with our code, and does what the test wants."""
    path = folder / "other-python"
    path.write_text(f"#!{sys.executable}\nimport json, os, subprocess, sys, time\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def asked_of(log: Path) -> list[list[object]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_without_an_interpreter_it_is_not_computed(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"comet: not computed: `python` is not set\. Install COMET in an"):
        comet.Config().build().rows(["x"], [sample()])
    with pytest.raises(BackendError, match=r"comet: not computed: program '.*nowhere' not found"):
        comet.Config(python=str(tmp_path / "nowhere")).build().rows(["x"], [sample()])


def test_an_interpreter_without_comet_says_how_to_install_it() -> None:
    with pytest.raises(
        BackendError, match=r"cannot import COMET \(No module named 'comet'\)\. Install COMET"
    ) as told:
        comet.Config(python=sys.executable).build().rows(["x"], [sample()])
    assert "pip install unbabel-comet" in str(told.value)


def test_our_own_files_and_those_nearby_never_pose_as_comet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "comet.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendError, match="No module named 'comet'"):
        comet.Config(python=sys.executable).build().rows(["x"], [sample()])


def test_each_translation_is_asked_once_with_its_source_and_first_reference(tmp_path: Path) -> None:
    log = tmp_path / "log"
    python = program(tmp_path, ANSWERING.format(log=str(log)))
    metric = comet.Config(python=python, model="some/model", batch_size=4).build()
    assert metric.signature([]) == "model:some/model"
    samples = [sample("1"), sample("2", "b", "\u00e9\u4e2d"), sample("3"), sample("4")]
    rows = metric.rows(["xy", None, "xy", "\u00fc\n"], samples)
    assert rows.tolist() == [[0.02, 1], [1, 1], [0.02, 1], [0.02, 1]]
    assert metric.total(rows.sum(0)) == pytest.approx(1.06 / 4)
    assert metric.signature([]) == "model:some/model|unbabel-comet:9.9"
    metric.rows(["xy", "new"], samples[:2])
    (first, place), (second, _) = asked_of(log)
    assert first == {
        "model": "some/model",
        "batch_size": 4,
        "rows": [
            {"src": "a", "mt": "xy", "ref": "r"},
            {"src": "b", "mt": "", "ref": "\u00e9\u4e2d"},
            {"src": "a", "mt": "\u00fc\n", "ref": "r"},
        ],
    }
    assert second == {**first, "rows": [{"src": "b", "mt": "new", "ref": "\u00e9\u4e2d"}]}
    assert Path(str(place)) != Path.cwd()
    assert metric.rows([], []).shape == (0, 2)


def test_a_checkpoint_is_named_from_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    program(tmp_path, ANSWERING.format(log=str(log)))
    (tmp_path / "model.ckpt").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    comet.Config(python="./other-python", model="model.ckpt").build().rows(["x"], [sample()])
    ((asked, _),) = asked_of(log)
    assert asked["model"] == str(tmp_path / "model.ckpt")  # type: ignore[index]  # a mapping, as written above


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('Loading ...')", r"said 'Loading \.\.\.\\n', which is no JSON object"),
        ("", "said '', which is no JSON object"),
        ("print('[1]')", r"said '\[1\]\\n', which is no JSON object"),
        ("print('[' * 100000)", ", which is not a JSON object."),
        ("sys.stdout.buffer.write(b'\\xff\\xfe')", ", which is not a JSON object."),
        ("print('{}')", r"gave no score\(s\) for 1 translation\(s\)"),
        ("print('{\"scores\": [0.5, 0.5]}')", r"gave 2 score\(s\) for 1 translation\(s\)"),
        ("print('{\"scores\": [NaN]}')", "gave nan as a score"),
        ('print(\'{"scores": ["0.5"]}\')', "gave '0.5' as a score"),
        ("print('{\"scores\": [true]}')", "gave True as a score"),
        ("sys.exit('out of memory')", "exited with status 1: out of memory"),
    ],
)
def test_what_is_no_answer_is_no_score(tmp_path: Path, body: str, message: str) -> None:
    metric = comet.Config(python=program(tmp_path, body)).build()
    with pytest.raises(BackendError, match=f"comet: not computed: .*{message}"):
        metric.rows(["x"], [sample()])


HOLDING = """
import fcntl
held = open({lock!r}, "w")
fcntl.flock(held, fcntl.LOCK_EX)
os.set_inheritable(held.fileno(), True)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
time.sleep(600)
"""
"""It and the program that it starts hold a lock for as long as either of them lives."""


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    python = program(tmp_path, HOLDING.format(lock=str(lock)))
    for seconds in (1, 5, 60):  # on a busy machine it may not have come to its lock in the first
        with pytest.raises(
            BackendError, match=rf"took more than {seconds} seconds\. Raise `timeout`, or use a"
        ):
            comet.Config(python=python, timeout=seconds).build().rows(["x"], [sample()])
        if lock.exists():
            break
    assert lock.exists()
    with lock.open() as file:
        for _ in range(300):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.1)
    pytest.fail("something that the program started still lives")


STAND_IN = """
import os, sys
print("a library that talks")
os.system("echo and one that talks behind Python's back")

def download_model(name):
    return "downloaded " + name

def load_from_checkpoint(path):
    return Model(path)

class Model:
    def __init__(self, path):
        self.path = path

    def predict(self, rows, batch_size, gpus, progress_bar):
        print(self.path, batch_size, gpus, progress_bar, file=sys.stderr)
        print("Predicting ...")
        assert self.path == "downloaded some/model"
        return Found([len(row["mt"]) / 10 for row in rows])

class Found:
    def __init__(self, scores):
        self.scores = scores
"""
"""A package named comet with the functions that we call; it has no model, and says whatever the lengths are."""


def test_our_code_in_the_other_environment_is_heard_whatever_its_libraries_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "comet").mkdir()
    (tmp_path / "comet" / "__init__.py").write_text(STAND_IN)
    (tmp_path / "unbabel_comet-9.9.dist-info").mkdir()
    facts = "Metadata-Version: 2.1\nName: unbabel-comet\nVersion: 9.9\n"
    (tmp_path / "unbabel_comet-9.9.dist-info" / "METADATA").write_text(facts)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    metric = comet.Config(python=sys.executable, model="some/model").build()
    assert metric.rows(["abc", "\u4e2d"], [sample(), sample()]).tolist() == [[0.3, 1], [0.1, 1]]
    assert metric.signature([]) == "model:some/model|unbabel-comet:9.9"


def test_a_translation_knows_its_source_whatever_its_data_calls_so() -> None:
    record = translation.Record(
        id="1",
        images=(),
        source="A bat.",
        targets=("Eine Keule.",),
        source_language="en",
        target_language="de",
        tags={"source": "the web"},
    )
    assert translation.Config().build().sample(record).tags["source"] == "A bat."


def test_what_cannot_be_scored_is_refused() -> None:
    metric = comet.Config().build()
    with pytest.raises(
        DataError, match=r"1 of 2 samples have no tag 'source' .*being 's2'; it judges translations"
    ):
        metric.rows(["x", "y"], [sample(), sample("s2", source="")])
    with pytest.raises(DataError, match=r"comet: 1 prediction\(s\) for 2 sample\(s\)"):
        metric.rows(["x"], [sample(), sample()])
    assert np.isnan(metric.total(np.zeros(2)))
