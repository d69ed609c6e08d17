"""GQA's shared parts: which questions count, and what is said of a file of choices that cannot be used."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightweave.answers.metrics import gqa_binary, gqa_open, gqa_plausibility, gqa_validity
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

CHOICES = {
    "1": {"valid": ["red", "Blue"], "plausible": ["red"]},
    "2": {"valid": ["yes", "no"], "plausible": ["yes", "no"]},
    "3": {"valid": ["car"], "plausible": ["car"]},
    "not asked": 5,
}


def sample(name: str, answer: str = "red", **tags: str) -> Sample:
    tags = {"type": "query", "detailed": "color", **tags}
    return Sample(id=name, task="vqa", parts=(), references=(answer,), tags=tags)


SAMPLES = [sample("1"), sample("2", "yes", type="verify"), sample("3", "material", detailed="twoCommon")]


def write(path: Path, values: Any = CHOICES) -> Path:
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_answers_among_the_choices(tmp_path: Path) -> None:
    path = str(write(tmp_path / "val_choices.json"))
    valid = gqa_validity.Config(choices=path).build()
    plausible = gqa_plausibility.Config(choices=path).build()
    assert valid.rows([" blue", "no", "color"], SAMPLES).tolist() == [[1, 1], [1, 1], [1, 1]]
    assert plausible.rows(["blue", "no", "color"], SAMPLES).tolist() == [[0, 1], [1, 1], [1, 1]]
    # What two things have in common is never a thing, whatever the file says; None and "" are nowhere.
    rows = valid.rows([None, "", "car"], SAMPLES)
    assert rows.tolist() == [[0, 1], [0, 1], [0, 1]]
    assert valid.totals(rows.sum(0)) == {"all_questions": 0}
    assert valid.rows([], []).shape == (0, 2)


def test_a_packed_file_and_a_second_set_of_questions(tmp_path: Path) -> None:
    path = tmp_path / "val_choices.json"
    path.write_bytes(gzip.compress(json.dumps(CHOICES).encode()))
    metric = gqa_validity.Config(choices=str(path)).build()
    assert metric.rows(["red"], SAMPLES[:1]).tolist() == [[1, 1]]
    assert metric.rows(["yes"], SAMPLES[1:2]).tolist() == [[1, 1]]


def test_questions_outside_the_balanced_ones_count_nothing_and_need_no_choices(tmp_path: Path) -> None:
    metric = gqa_validity.Config(choices=str(write(tmp_path / "c.json"))).build()
    others = [*SAMPLES[:1], sample("9", balanced="false", detailed="")]
    assert metric.rows(["red", "red"], others).tolist() == [[1, 1], [0, 0]]
    assert gqa_open.Config().build().rows(["red", "red"], others).tolist() == [[1, 1], [0, 0]]


def test_open_and_binary_questions() -> None:
    samples = [*SAMPLES, sample("4", "no", type="choose"), sample("5", "no", type="logical")]
    answers = ["Red", "no", None, "no", "no "]
    rows = gqa_open.Config().build().rows(answers, samples)
    assert rows.tolist() == [[1, 1], [0, 0], [0, 1], [0, 0], [0, 0]]
    metric = gqa_binary.Config().build()
    rows = metric.rows(answers, samples)
    assert rows.tolist() == [[0, 0], [0, 1], [0, 0], [1, 1], [1, 1]]
    assert metric.totals(rows.sum(0))["all_questions"] == metric.total(rows.sum(0)) == 2 / 3
    assert np.isnan(metric.total(metric.rows(["red"], samples[:1]).sum(0)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**CHOICES, "2": 3}, "question '2' has no list of texts under 'valid'"),
        ({**CHOICES, "2": {"plausible": []}}, "question '2' has no list of texts under 'valid'"),
        ({**CHOICES, "2": {"valid": [1]}}, "question '2' has no list of texts under 'valid'"),
        (
            {"1": CHOICES["1"]},
            r"lacks 2 of 3 questions, the first being '2'; use the file of the same split",
        ),
        ([1], r"expected '\{'"),
    ],
)
def test_a_file_of_other_things_is_refused(tmp_path: Path, values: Any, message: str) -> None:
    metric = gqa_validity.Config(choices=str(write(tmp_path / "c.json", values))).build()
    with pytest.raises(DataError, match=f"gqa_validity: .*{message}"):
        metric.rows(["red"] * 3, SAMPLES)


def test_a_file_that_is_damaged_or_not_there_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "c.json")
    metric = gqa_plausibility.Config(choices=str(path)).build()
    path.write_text(path.read_text()[:60])
    with pytest.raises(DataError, match=r"gqa_plausibility: .*c\.json: character \d+: the file ends"):
        metric.rows(["red"] * 3, SAMPLES)
    path.write_text('{"1": {"plausible": []}, "1": {"plausible": []}}')
    with pytest.raises(DataError, match="question '1' appears twice"):
        metric.rows(["red"] * 3, SAMPLES)
    path.unlink()
    with pytest.raises(DataError, match=r"gqa_plausibility: .*c\.json: cannot be opened"):
        metric.rows(["red"] * 3, SAMPLES)
    with pytest.raises(DataError, match="gqa_validity: `choices` is not set"):
        gqa_validity.Config().build().rows(["red"] * 3, SAMPLES)


def test_other_data_is_refused() -> None:
    with pytest.raises(DataError, match=r"gqa_validity: 1 of 2 samples have no tag 'detailed', .*being '7'"):
        gqa_validity.Config().build().rows(["a", "b"], [SAMPLES[0], sample("7", detailed="")])
    with pytest.raises(DataError, match="gqa_open: 1 of 1 samples have no tag 'type'"):
        gqa_open.Config().build().rows(["a"], [sample("7", type="")])
    with pytest.raises(
        DataError, match="gqa_binary: sample '7' is of type 'colour'; GQA's questions are of one of"
    ):
        gqa_binary.Config().build().rows(["a"], [sample("7", type="colour")])
    with pytest.raises(DataError, match=r"gqa_open: 2 prediction\(s\) for 1 sample\(s\)"):
        gqa_open.Config().build().rows(["a", "b"], SAMPLES[:1])
