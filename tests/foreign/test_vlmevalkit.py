"""The real VLMEvalKit drives a run through its own run.py on a local table; its score is ours."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from foreign._job import COLOURS, LETTERED, OPTIONS, QUESTION, Job

import sightweave
from sightweave.harnesses import vlmevalkit

pytestmark = pytest.mark.foreign
SCRIPT = """\
import runpy
import sys

from sightweave.harnesses.vlmevalkit import register

register("tiny", sys.argv.pop(1), device="cpu", max_tokens=8)
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_a_table_of_choices(job: Job) -> None:
    import vlmeval

    program = Path(vlmeval.__file__).parents[1] / "run.py"  # it is no part of the package: a clone is needed
    data = job.folder / "LMUData"
    data.mkdir()
    with (data / "Colours.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["index", "image_path", "question", "A", "B", "C", "D", "answer"])
        for index, row in enumerate(job.test_rows()):
            letter = "ABCD"[OPTIONS.index(row["answer"])]
            writer.writerow([index, row["image"], QUESTION, *OPTIONS, letter])
    (job.folder / "start.py").write_text(SCRIPT, encoding="utf-8")
    job.command(
        *("start.py", job.run, program, "--model", "tiny", "--data", "Colours"),
        *("--judge", "exact_matching", "--work-dir", "kit"),
        LMUData=str(data),
    )
    (accuracy,) = (job.folder / "kit" / "tiny").glob("T*/*_acc.csv")
    with accuracy.open(encoding="utf-8", newline="") as file:
        (overall,) = csv.DictReader(file)
    ours = job.score(LETTERED, ["exact_match"], letters=True)["exact_match"]
    assert 0.5 < ours < 1
    assert float(overall["Overall"]) == pytest.approx(ours, abs=1e-12)
    (status,) = (job.folder / "kit" / "tiny").glob("T*/status.json")
    assert "Colours" in json.loads(status.read_text(encoding="utf-8"))["datasets"]


def test_a_conversation(job: Job) -> None:
    model = vlmevalkit.model_class()(run=str(job.run), device="cpu", max_tokens=8)
    run = sightweave.load(job.run, device="cpu")
    for colour in COLOURS:
        picture = job.folder / f"{colour}-1.png"
        said = run.generate(picture, QUESTION, max_tokens=8).text
        assert model.generate([str(picture), QUESTION]) == said == colour
        turns = [{"role": "user", "content": [str(picture), QUESTION]}]
        assert model.chat(turns) == said
