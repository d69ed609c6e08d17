"""Questions about drawings: their answers follow from the description, and every kind is asked."""

import pytest

from sightweave.core.types import CHECKED
from sightweave.data.datasets import scenes
from sightweave.data.scenes.items import caption
from sightweave.data.scenes.view import View
from sightweave.data.tasks import drawing

DATASET = scenes.Config(tasks=("drawing",), size=60).build(split="combinations")


def test_all_kinds_are_asked_and_both_answers_are_as_frequent() -> None:
    asked = [check for index in range(60) for check in DATASET[index][0].checks]
    assert {check.aspect for check in asked} == set(CHECKED)
    present = [check.answer for check in asked if check.aspect == "presence"]
    assert 0.4 < present.count("yes") / len(present) < 0.6
    assert {check.task for check in asked} == {"vqa", "reasoning"}


def test_questions_are_repeatable_and_belong_to_the_sample() -> None:
    again = scenes.Config(tasks=("drawing", "captioning"), size=60).build(split="combinations")
    records = [record for record in again[7] if isinstance(record, drawing.Record)]
    assert [record.checks for record in records] == [DATASET[7][0].checks]
    assert drawing.Config().build().sample(DATASET[7][0]).checks == DATASET[7][0].checks


def test_training_samples_have_none() -> None:
    assert scenes.Config(tasks=("drawing",)).build(split="train")[0][0].checks == ()


@pytest.mark.parametrize("index", range(0, 60, 7))
def test_answers_are_in_the_description(index: int) -> None:
    scene = DATASET.scene(index)
    description = caption(View(scene))
    for check in DATASET[index][0].checks:
        if check.aspect in ("thing", "color", "size"):
            assert check.answer in description
        if check.aspect == "presence" and check.answer == "yes":
            words = check.question.removeprefix("Is there ").rstrip("?").split()[1:]
            assert all(word in description for word in words)

    ends = [check.answer for check in DATASET[index][0].checks if check.aspect == "side"]
    if ends:
        parts = description.replace(" and ", ", ").split(", ")
        assert parts[0].endswith(ends[0])
        assert parts[-1].endswith(ends[1])


def test_counts_are_those_of_the_description() -> None:
    for index in range(60):
        description = caption(View(DATASET.scene(index))).replace(" and ", ", ").split(", ")
        total = sum(int(check.answer) for check in DATASET[index][0].checks if check.aspect == "count")
        assert total == len(description)
