"""The real lmms-eval drives a run through its own command, entry point and tasks; its scores are ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from foreign._job import OPTIONS, QUESTION, Job

import sightweave
from sightweave.core.types import Medium, Part, Prediction, Sample

pytestmark = pytest.mark.foreign
HELPERS = """\
from PIL import Image

def pictures(doc):
    return [Image.open(doc["image"]).convert("RGB")]

def index(doc):
    return doc["options"].index(doc["answer"])

def messages(doc):
    text = [{"type": "text", "text": doc["question"]}]
    return [{"role": "user", "content": [{"type": "image", "url": doc["image"]}, *text]}]
"""
COMMON = """\
dataset_path: json
dataset_kwargs:
  data_files: {test: ROWS}
test_split: test
doc_to_text: question
"""
GENERATED = """\
output_type: generate_until
doc_to_target: answer
generation_kwargs: {max_new_tokens: 8, temperature: 0, do_sample: false, until: ["\\n"], image_aspect_ratio: pad}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
TASKS = {
    "tiny_visuals": f"{GENERATED}doc_to_visual: !function helpers.pictures\n",
    "tiny_messages": (
        f"{GENERATED}doc_to_visual: !function helpers.pictures\ndoc_to_messages: !function helpers.messages\n"
    ),
    "tiny_choices": """\
output_type: multiple_choice
doc_to_visual: !function helpers.pictures
doc_to_choice: options
doc_to_target: !function helpers.index
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
""",
}


@pytest.fixture(scope="module")
def tasks(job: Job) -> Path:
    """A folder of tasks over local rows."""
    folder = job.folder / "tasks"
    folder.mkdir()
    rows = [{**row, "question": QUESTION, "options": OPTIONS} for row in job.test_rows()]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "helpers.py").write_text(HELPERS, encoding="utf-8")
    for name, text in TASKS.items():
        common = COMMON.replace("ROWS", str(folder / "rows.jsonl"))
        (folder / f"{name}.yaml").write_text(f"task: {name}\n{common}{text}", encoding="utf-8")
    return folder


def drive(job: Job, tasks: Path, *names: str, words: tuple[str, ...] = ()) -> tuple[Any, Any, str]:
    """Results by task, logged samples by task, and what was printed."""
    out = job.folder / f"out-{'-'.join(names)}-{len(words)}"
    done = job.command(
        *("-m", "lmms_eval", "--model", "sightweave", "--model_args", f"run={job.run},device=cpu"),
        *("--tasks", ",".join(names), "--include_path", tasks, "--output_path", out, "--log_samples", *words),
    )
    (results,) = out.rglob("*_results.json")
    logged = {}
    for name in names:
        (path,) = out.rglob(f"*_samples_{name}.jsonl")
        lines = path.read_text(encoding="utf-8").splitlines()
        logged[name] = sorted((json.loads(line) for line in lines), key=lambda row: row["doc_id"])
    found = json.loads(results.read_text(encoding="utf-8"))["results"]
    return found, logged, done.stdout + done.stderr


def judged(job: Job) -> list[Prediction]:
    """What the run says to the test questions itself, and how likely it finds the options."""
    run = sightweave.load(job.run, device="cpu")
    samples = [
        Sample(
            id=row["id"],
            task="",
            parts=(Part("user", Medium(Path(row["image"]), row["id"])), Part("user", QUESTION)),
        )
        for row in job.test_rows()
    ]
    return run.predict(samples, texts=[OPTIONS] * len(samples), max_tokens=8)


def test_tasks_that_generate(job: Job, tasks: Path) -> None:
    found, logged, printed = drive(job, tasks, "tiny_visuals", "tiny_messages")
    ours = job.score(QUESTION, ["exact_match"])["exact_match"]
    assert 0.5 < ours < 1
    for name in ("tiny_visuals", "tiny_messages"):
        assert found[name]["exact_match,none"] == pytest.approx(ours, abs=1e-12)
        assert [row["filtered_resps"] for row in logged[name]] == [answer.text for answer in judged(job)]
    assert printed.count("a run does not have image_aspect_ratio") == 1


def test_the_simple_face_generates_the_same_and_compares_likelihoods(job: Job, tasks: Path) -> None:
    found, logged, _ = drive(job, tasks, "tiny_visuals", "tiny_choices", words=("--force_simple",))
    metrics = [
        "exact_match",
        {"kind": "choice_likelihood", "by": "sum"},
    ]
    ours = job.score(QUESTION, metrics)
    assert found["tiny_visuals"]["exact_match,none"] == pytest.approx(ours["exact_match"], abs=1e-12)
    assert found["tiny_choices"]["acc,none"] == pytest.approx(ours["choice_likelihood"], abs=1e-12)
    by_character = job.score(QUESTION, [{"kind": "choice_likelihood", "by": "character"}])
    assert found["tiny_choices"]["acc_norm,none"] == pytest.approx(
        by_character["choice_likelihood"], abs=1e-12
    )
    assert 0.5 < found["tiny_choices"]["acc,none"] < 1
    for row, answer in zip(logged["tiny_choices"], judged(job), strict=True):
        told = [-one.logprob for one in answer.likelihoods]
        assert [float(loss) for loss, _ in row["filtered_resps"]] == pytest.approx(told, abs=1e-4)
        greedy = [str(flag) == "True" for _, flag in row["filtered_resps"]]
        assert greedy == [option == answer.text for option in OPTIONS]
