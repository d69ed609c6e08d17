"""POPE's official files are read as they are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_sets import pope as written
from data_sets._colours import COLOURS

from sightweave.core.errors import DataError
from sightweave.data.datasets import pope
from sightweave.data.reading.detect import detect


def build(path: Path, which: str = "test", **options: Any) -> Any:
    return pope.Config(path=str(path), **options).build(split=which)


def test_every_question_is_read_with_what_it_was_drawn_from(tmp_path: Path) -> None:
    written.write(tmp_path)
    assert detect(tmp_path) == {
        "pope": "yes or no questions in coco_pope_adversarial.json, coco_pope_popular.json, coco_pope_random.json"
    }
    dataset = build(tmp_path)
    assert not dataset.faults
    assert len(dataset) == 4
    first = next(record for record in dataset[0] if record.id == "random-1")
    assert first.question == f"Is there a {next(iter(COLOURS))} wall in the image?"
    assert (first.answers, first.options) == (("yes",), ("yes", "no"))
    assert first.images[0].key == "val2014/COCO_val2014_000000000000.jpg"
    assert first.tags == {"type": "random"}
    assert {record.answers for group in dataset for record in group} == {("yes",), ("no",)}


def test_one_file_is_enough_and_may_be_trained_on_where_that_is_asked(tmp_path: Path) -> None:
    file = written.write(tmp_path) / "coco_pope_random.json"
    assert list(detect(file)) == ["pope"]
    assert sum(len(group) for group in build(file)) == 8
    assert len(build(file, "train", split="train")) == 4
    with pytest.raises(DataError, match=r"split='train' to use all of them"):
        build(file, "train")


@pytest.mark.parametrize("label", ["maybe", 1, None])
def test_another_label_is_a_fault(tmp_path: Path, label: object) -> None:
    file = written.write(tmp_path) / "coco_pope_random.json"
    more = {"question_id": 9, "image": "COCO_val2014_000000000000.jpg", "text": "Is it?", "label": label}
    file.write_text(file.read_text() + json.dumps(more) + "\n")
    (fault,) = build(file).faults
    assert (fault.line, fault.code, fault.field) == (9, "bad_answer", "label")


def test_another_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"question_id": 1, "image": "a", "text": "b", "label": "cat"}\n')
    assert detect(tmp_path) == {}
    with pytest.raises(DataError, match="JSON lines with question_id, image, text and label"):
        list(pope.Config(path=str(tmp_path)).rows(""))
