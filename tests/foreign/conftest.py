"""One run for all tests of this folder."""

from __future__ import annotations

import json

import pytest
from foreign._job import COLOURS, LETTERED, OPTIONS, QUESTION, RECIPE, Job
from PIL import Image

import sightweave


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A run that knows its colours, and the pictures of the test."""
    made = Job(tmp_path_factory.mktemp("foreign"))
    rows = []
    for colour, value in COLOURS.items():
        for shade in range(3):
            path = made.folder / f"{colour}-{shade}.png"
            Image.new("RGB", (20, 14), tuple(max(0, part - 12 * shade) for part in value)).save(path)
        for question, answer in ((QUESTION, colour), (LETTERED, "ABCD"[OPTIONS.index(colour)])):
            row = {"image": f"{colour}-1.png", "question": question, "answer": answer, "split": "train"}
            rows.append(json.dumps(row))
    (made.folder / "train.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    recipe = {**RECIPE, "data": str(made.folder / "train.jsonl")}
    sightweave.train(recipe, out=made.run, evaluate=False)
    return made
