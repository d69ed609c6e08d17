"""Drawn attributes: a judge that looks is the ceiling, drawings of other descriptions are the floor."""

from collections.abc import Sequence

import numpy as np
import pytest

from sightweave.answers.metrics.drawn_attributes import DrawnAttributes
from sightweave.core.errors import DataError
from sightweave.core.types import CHECKED, Check, Medium, Part, Sample

COLORS = ("red", "green", "blue")


class Looking:
    """A judge that knows the strongest colour of an image, and thinks that every image has one thing."""

    name, fingerprint = "runs/judge", "0123456789abcdef"

    def answer(self, images: Sequence[np.ndarray], checks: Sequence[Check]) -> list[str | None]:
        colors = [COLORS[int(image.mean((0, 1)).argmax())] for image in images]
        return [
            color if check.aspect == "color" else "1" for color, check in zip(colors, checks, strict=True)
        ]

    def features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        raise NotImplementedError


def image(color: str) -> np.ndarray:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[..., COLORS.index(color)] = 200
    return pixels


def sample(number: int, count: str = "1") -> Sample:
    color = COLORS[number % 3]
    return Sample(
        id=f"d{number}",
        task="drawing",
        parts=(Part("assistant", Medium(image(color), f"d{number}"), learn=True),),
        checks=(
            Check("color", "vqa", "What color is the circle?", color.upper()),
            Check("count", "reasoning", "How many things are there?", count),
        ),
    )


SAMPLES = [sample(number) for number in range(6)]
REAL = [image(COLORS[number % 3]) for number in range(6)]


def test_right_drawings_reach_the_ceiling_and_others_the_floor() -> None:
    metric = DrawnAttributes(judge=Looking())
    sums = metric.rows(REAL, SAMPLES).sum(0)
    assert float(metric.total(sums)) == 1
    assert metric.totals(sums) == {
        "ceiling": 1,
        "floor": 0.5,  # the colour of the next drawing is always another one, and its number is the same
        "color": 1,
        "color, ceiling": 1,
        "color, floor": 0,
        "count": 1,
        "count, ceiling": 1,
        "count, floor": 1,
    }


def test_kinds_of_questions_count_equally_and_a_missing_drawing_is_wrong() -> None:
    metric = DrawnAttributes(judge=Looking())
    drawn = [image("red"), *REAL[1:4], None, image("green")]
    rows = metric.rows(drawn, SAMPLES)
    assert rows.shape == (6, 4 * len(CHECKED))
    assert float(metric.total(rows.sum(0))) == pytest.approx((4 / 6 + 5 / 6) / 2)
    assert metric.total(rows).tolist() == [1, 1, 1, 1, 0, 0.5]
    assert np.isnan(metric.total(np.zeros(4 * len(CHECKED))))


def test_a_judge_that_is_wrong_on_real_images_lowers_the_ceiling() -> None:
    some = [sample(0), sample(1, count="2")]
    metric = DrawnAttributes(judge=Looking())
    totals = metric.totals(metric.rows(REAL[:2], some).sum(0))
    assert totals["count, ceiling"] == 0.5
    assert totals["ceiling"] == 0.75


def test_the_judge_is_named() -> None:
    found = DrawnAttributes(judge=Looking()).signature(SAMPLES)
    assert found == "judge:runs/judge|sha256:0123456789ab|questions:12"


def test_what_cannot_be_judged_is_an_error() -> None:
    with pytest.raises(DataError, match="drawn_attributes: its judge is not loaded"):
        DrawnAttributes(judged_by="runs/judge").rows(REAL, SAMPLES)
    bare = Sample(id="bare", task="drawing", parts=())
    with pytest.raises(DataError, match=r"'bare' has 0 question\(s\) and 0 target image\(s\)"):
        DrawnAttributes(judge=Looking()).rows(REAL[:1], [bare])
