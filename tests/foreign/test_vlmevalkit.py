"""The real VLMEvalKit drives a run through its own run.py on a local table; its score is ours."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import pytest
from foreign._job import COLOURS, LETTERED, OPTIONS, QUESTION, Job

import sightweave
from sightweave.core.types import Medium, Part, Sample

pytestmark = pytest.mark.foreign
SCRIPT = """\
import runpy
import sys

from sightweave.harnesses.vlmevalkit import register

register("tiny", sys.argv.pop(1), device="cpu", max_tokens=8)
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_a_table_of_choices(job: Job) -> None:
    found = importlib.util.find_spec("vlmeval")
    assert found is not None
    program = Path(found.origin or "").parents[1] / "run.py"  # no part of the package: a clone is needed
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


CONVERSATION = """\
import json
import sys

from sightweave.harnesses.vlmevalkit import model_class

model = model_class()(run=sys.argv[1], device="cpu", max_tokens=8)
said = []
for picture in sys.argv[3:]:
    turns = [{"role": "user", "content": [picture, sys.argv[2]]}]
    said.append([model.generate([picture, sys.argv[2]]), model.chat(turns)])
    turns = [*turns, {"role": "assistant", "content": said[-1][1]}, {"role": "user", "content": sys.argv[2]}]
    said[-1].append(model.chat(turns))
print(json.dumps(said))
"""


def test_messages_and_conversations(job: Job) -> None:
    (job.folder / "talk.py").write_text(CONVERSATION, encoding="utf-8")
    pictures = [job.folder / f"{colour}-1.png" for colour in COLOURS]
    done = job.command("talk.py", job.run, QUESTION, *pictures)
    run = sightweave.load(job.run, device="cpu")
    ours = []
    for path, colour in zip(pictures, COLOURS, strict=True):
        first = run.generate(path, QUESTION, max_tokens=8).text
        assert first == colour
        picture = Part("user", Medium(path, colour))
        asked = Part("user", QUESTION)
        sample = Sample(id="a", task="", parts=(picture, asked, Part("assistant", first), asked))
        ours.append([first, first, run.predict([sample], max_tokens=8)[0].text])
    assert json.loads(done.stdout.splitlines()[-1]) == ours
