"""Faithfulness: which object a question is about, and what is measured on a map."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from contracts._compose import Case, compose, picture, sample

from sightweave.core.errors import DataError
from sightweave.core.types import Region, Sample
from sightweave.programs import faithfulness
from sightweave.programs.explanation import question_of
from sightweave.programs.generation import generate

CASE = Case("concat", (), "decoder_only")
BALL, BOX = Region((0.0, 0.0, 0.5, 0.25), ("ball", "red")), Region((0.5, 0.5, 1.0, 1.0), ("box", "Red"))


def asked(prompt: str, *regions: Region) -> Sample:
    return dataclasses.replace(sample("one", picture(1), prompt), regions=regions)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("what colour is the Ball?", BALL),
        ("is the box red?", BOX),
        ("is the thing red?", None),  # both are
        ("how many?", None),
    ],
)
def test_a_question_is_about_the_region_with_most_of_its_words(prompt: str, expected: Region | None) -> None:
    assert faithfulness.evidence(asked(prompt, BALL, BOX)) is expected


def test_a_question_without_regions_or_about_two_images_has_no_evidence() -> None:
    assert faithfulness.evidence(asked("what colour is the ball?")) is None
    two = sample("two", picture(1), picture(2), "what colour is the ball?")
    assert faithfulness.evidence(dataclasses.replace(two, regions=(BALL,))) is None


def test_the_covered_share_of_each_place_adds_up_to_the_box() -> None:
    down, across = faithfulness._overlap(0.1, 0.35, 4), faithfulness._overlap(0.0, 1.0, 3)
    np.testing.assert_allclose(down, [0.6, 0.4, 0, 0])
    np.testing.assert_allclose(across, [1, 1, 1])
    assert np.outer(down, across).mean() == pytest.approx(0.25)


def test_removing_and_restoring_start_and_end_at_the_same_inputs() -> None:
    model, processor = compose(CASE, encoder="vit")
    question = question_of(model, processor, sample("one", picture(1), "what colour ?"), "red")
    own, grey = question.own(), question.absent()
    absent = dataclasses.replace(own, media=grey.media)
    with torch.no_grad():
        first, last = question.probabilities([own, absent]).tolist()

    # With one place after the other, the mean over two steps of a curve is that of its ends.
    values = np.arange(16.0).reshape(4, 4)
    areas = [
        faithfulness.area(question, each, removes=removes, are_features=False)
        for each, removes in ((values, True), (-values, False))
    ]
    # Removing from the largest and restoring from the smallest go through the same pictures in opposite order.
    assert areas[0] == pytest.approx(areas[1], abs=1e-5)
    assert 0 < min(first, last) <= max(first, last) < 1
    assert areas[0] != pytest.approx(
        faithfulness.area(question, -values, removes=True, are_features=False), abs=1e-7
    )


def test_what_is_measured_lies_between_none_and_all() -> None:
    model, processor = compose(CASE, encoder="vit")
    question = question_of(model, processor, sample("one", picture(1), "what colour ?"), "red")
    covered = np.zeros((4, 4))
    covered[0, 1], covered[1, 1] = 1.0, 0.05
    values = np.zeros((4, 4))
    values[0, 1], values[3, 3], values[2, 2] = 3.0, 1.0, -5.0
    pointing, energy, *areas = faithfulness._measured(question, values, covered)
    assert (pointing, energy) == (1.0, 0.75)
    assert all(0 <= one <= 1 for one in areas)
    assert faithfulness._measured(question, -values, covered)[0] == 0.0
    barely = np.zeros((4, 4))
    barely[1, 1] = 1.0
    assert faithfulness._measured(question, barely, covered)[0] == 0.0  # a twentieth of a place is too little
    assert faithfulness._measured(question, -np.ones((4, 4)), covered)[1] == pytest.approx(covered.mean())


def test_samples_that_say_nothing_are_counted() -> None:
    model, processor = compose(CASE, encoder="vit")
    named = asked("what colour is the ball ?", BALL, BOX)
    wrong = dataclasses.replace(named, references=("no such answer",))
    with pytest.raises(DataError, match=r"2 samples \(1 answered wrong, 1 without one object"):
        faithfulness.measure(model, processor, [wrong, asked("how many ?", BALL)])

    (said,) = generate(model, processor, [named])
    right = dataclasses.replace(named, references=(said.text,))
    found = faithfulness.measure(model, processor, [wrong, right, right, right], ["occlusion"], most=2)
    assert (found.trials, found.left_out) == (2, {"answered wrong": 1})
    assert set(found.methods["occlusion"]) == set(faithfulness.MEASURES)
    assert found.verdict("occlusion").startswith("occlusion ")
