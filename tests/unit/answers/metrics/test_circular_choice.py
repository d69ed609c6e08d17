"""Circular choice: all rotations must be right, each question is one trial, and no rotation may be missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sightweave.answers.metrics import circular_choice, multiple_choice
from sightweave.answers.metrics.circular_choice import CircularChoice
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

COLOURS = ("red", "blue", "green")


def circle(name: str, right: str, options: tuple[str, ...] = COLOURS) -> list[Sample]:
    return [
        Sample(
            id=f"{name}#{n}",
            task="vqa",
            parts=(),
            references=(right,),
            options=options[n:] + options[:n],
            tags={"circle": name},
        )
        for n in range(len(options))
    ]


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        (["B", "A", "C"], 1),  # blue in each rotation
        (["blue", "(a)", "The answer is C."], 1),
        (["B", "A", "B"], 0),
        (["B", "A", None], 0),
        (["A", "A", "A"], 0),
        (["blue", "blue", "red or blue"], 0),
    ],
)
def test_all_rotations_must_be_right(answers: list[str | None], right: int) -> None:
    rows = circular_choice.Config().build().rows(answers, circle("q", "blue"))
    assert rows.tolist() == [[0, 0], [0, 0], [right, 1]]


def test_questions_may_lie_among_each_other_and_others_add_nothing() -> None:
    first, second = circle("1", "blue"), circle("2", "no", ("yes", "no"))
    alone = replace(first[0], tags={})
    samples = [first[0], second[0], first[1], alone, first[2], second[1]]
    metric = CircularChoice()
    rows = metric.rows(["blue", "no", "blue", "blue", "blue", "yes"], samples)
    assert rows.tolist() == [[0, 0], [0, 0], [0, 0], [0, 0], [1, 1], [0, 1]]
    assert metric.total(rows.sum(0)) == 0.5
    assert np.isnan(metric.total(rows[0]))
    assert metric.rows([], []).shape == (0, 2)


def test_whoever_always_says_a_gets_nothing_where_single_questions_give_chance() -> None:
    samples = [one for n in range(20) for one in circle(str(n), COLOURS[n % 3])]
    answers = ["A"] * len(samples)
    single = multiple_choice.MultipleChoice()
    assert single.total(single.rows(answers, samples).sum(0)) == pytest.approx(1 / 3)
    assert CircularChoice().total(CircularChoice().rows(answers, samples).sum(0)) == 0


def test_equal_options_have_equal_rotations() -> None:
    samples = circle("q", "yes", ("yes", "no", "yes", "no"))
    assert CircularChoice().rows(["yes"] * 4, samples)[-1].tolist() == [1, 1]


def test_missing_doubled_and_other_rotations_are_refused() -> None:
    metric = CircularChoice()
    whole = circle("q", "blue")
    other = replace(whole[1], options=("blue", "red", "green"))
    for broken in (whole[:2], [*whole, whole[0]], [whole[0], other, whole[2]]):
        message = r"1 of 2 questions are not asked once for each rotation .* being 'q' with \d sample\(s\) and 3 options"
        with pytest.raises(DataError, match=message):
            metric.rows(["blue"] * (len(broken) + 3), [*circle("p", "blue"), *broken])


def test_what_cannot_be_scored_is_refused() -> None:
    metric = CircularChoice()
    with pytest.raises(DataError, match=r"none of 1 samples has a tag 'circle'.*use multiple_choice"):
        metric.rows(["A"], [replace(circle("q", "blue")[0], tags={})])
    with pytest.raises(DataError, match="circular_choice: sample 'q' has 0 options"):
        metric.rows(["A"], [replace(circle("q", "blue")[0], id="q", options=())])
    with pytest.raises(
        DataError, match="circular_choice: reference 'pink' of sample 'q#0' is not one of its options"
    ):
        metric.rows(["A"] * 3, circle("q", "pink"))
    with pytest.raises(DataError, match="circular_choice: 1 of 1 samples have no reference"):
        metric.rows(["A"], [replace(circle("q", "blue")[0], references=())])
