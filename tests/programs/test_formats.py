"""Every format from its official files: recognised by its path, read, trained on for a step, scored, checked."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import sightweave
from sightweave import api
from sightweave.core import catalog
from sightweave.core.errors import DataError
from sightweave.data.inputs import image_files
from sightweave.data.reading.dataset import task_of, texts_of
from sightweave.programs.doctor.fix import fix
from sightweave.programs.doctor.proof import prove
from sightweave.programs.evaluation.submission import LAYOUTS

NOT_FILES = ("own", "scenes")
UNLABELLED = ("images",)
TESTS = ("commute", "pope", "vlmevalkit")
"""Formats of tests alone."""
KINDS = [kind for kind in catalog.kinds("data.datasets") if kind not in NOT_FILES]
RECIPE: dict[str, Any] = {
    "model": {
        "encoder": {"kind": "cnn", "image_size": 32, "channels": [8, 16], "blocks": [0, 0]},
        "connector": "linear",
        "fusion": "concat",
        "language_model": {"kind": "decoder_only", "dim": 16, "depth": 1, "num_heads": 2},
    },
    "inputs": {"vocab_size": 400},
    "train": {"stages": [{"steps": 1, "batch_size": 4}], "num_threads": 1, "precision": "fp32"},
}


def written(kind: str, folder: Path) -> Path:
    """The format's small data set, made by `tests/data_sets/<kind>.py`."""
    path: Path = importlib.import_module(f"data_sets.{kind}").write(folder)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_its_path_is_enough(kind: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path / "data")
    assert list(api.detect_data(path)) == [kind]
    assert type(api.source(path)).__module__.endswith(f".{kind}")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in UNLABELLED])
def test_read_train_score(kind: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path / "data")
    # Some hold a test alone: all of it is then trained on, to show that it can be.
    splits = {s: len(api.source(path).build(split=s)) for s in ("val", "test")}
    source: dict[str, Any] = {"path": str(path)}
    if kind in TESTS:
        source["split"] = "train"
    run = sightweave.train({**RECIPE, "data": source}, out=tmp_path / "run", evaluate=False)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["left_out"] == {}
    assert not list((tmp_path / "run").glob("rows-left-out*"))
    scored = sightweave.evaluate(run, data=path if any(splits.values()) else source)
    assert sum(one.count for one in scored) > 0
    assert all(task.controls for one in scored for task in one.tasks if task.task != "conversation")
    answers = list(api.answer_all(run, path, max_tokens=4))
    records = (
        [r for s in ("train", "val", "test") for group in api.source(path).build(split=s) for r in group]
        if kind not in TESTS
        else []
    )
    assert len(answers) >= len(records)
    if kind in LAYOUTS:  # what a server takes names every question once
        asked = {answer["id"]: answer for answer in answers}  # our small sets number each split anew
        text = api.submission(kind, asked.values())
        marks = {"gqa": "prediction", "nlvr2": "\n"}
        assert text.count(marks.get(kind, "_id")) == len(asked)
    assert {task_of(record) for record in records} <= set(catalog.kinds("data.tasks"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in UNLABELLED])
def test_nothing_is_wrong_with_it(kind: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path / "data")
    report = api.check_data(path, out=tmp_path / "report", fix=tmp_path / "clean")
    errors = {code for code, one in report.findings.items() if one.severity == "error"}
    assert errors == set()
    assert report.bad_rows == 0
    assert report.good_rows > 0
    assert (tmp_path / "report" / "report.html").stat().st_size > 1000


def said(source: Any) -> list[tuple[Any, ...]]:
    """What every record says, without its number in the file."""
    found = []
    for split in source.splits:
        try:
            dataset = source.build(split=split)
        except DataError:
            continue
        for group in dataset:
            for record in group:
                texts = (*texts_of(record), *sorted(record.tags.values()))
                pixels = tuple(image_files.load(image).tobytes()[:64] for image in record.images)
                found.append((split, texts, pixels))
    return found


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in UNLABELLED])
def test_a_row_is_taken_out_in_the_same_format(kind: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path / "data")
    source = api.source(path)
    reader = source.reader(probe=False)
    good = [row for row in source.rows("") if reader.take(row) is not None]
    fullest = Counter(row.file for row in good).most_common(1)[0][0]
    # Of VLMEvalKit's, the first row holds the picture of the second, which cannot be read without it.
    row = [row for row in good if row.file == fullest][-1 if kind == "vlmevalkit" else 0]
    places = row.places or ((row.file, row.line),)
    out = tmp_path / "clean"

    def proof(copy: Path) -> None:
        prove(source, copy / path.name if path.is_file() else copy, places)

    changes = fix(path, out, [(places, "because")], [], proof=proof)
    copy = out / path.relative_to(tmp_path / "data") if path.is_file() else out
    # Where no split is named, which rows are held out follows from how many there are; so compare what they say.
    before, after = ([one[1:] for one in said(each)] for each in (source, type(source)(path=str(copy))))
    assert changes >= len(set(places))
    # A line of Multi30k is in three target languages.
    assert 0 < len(before) - len(after) <= {"multi30k": 3}.get(kind, 1)
    assert [one for one in after if one not in before] == []
    log = [json.loads(line) for line in (out / "changes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {one["reason"] for one in log if "row" in one} == {"because"}


@pytest.mark.parametrize("kind", UNLABELLED)
def test_pictures_alone_are_answered_and_checked(kind: str, tmp_path: Path) -> None:
    path = written(kind, tmp_path / "data")
    rows = [
        {"image": sightweave_pixels(number), "question": "What is it?", "answer": "red", "split": "train"}
        for number in range(4)
    ]
    run = sightweave.train(RECIPE, data=rows, out=tmp_path / "run", evaluate=False)
    answers = list(api.answer_all(run, path, max_tokens=4))
    assert answers
    assert all(answer["prompt"] == "Describe the image." for answer in answers)
    report = api.check_data({"path": str(path), "labelled": False}, out=tmp_path / "report")
    assert report.pictures == len(answers)


def sightweave_pixels(number: int) -> Any:
    import numpy as np

    return np.full((16, 16, 3), 40 * number, np.uint8)
