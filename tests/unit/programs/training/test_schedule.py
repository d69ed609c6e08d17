"""Schedules: where they start, stay and end."""

from __future__ import annotations

import itertools

import pytest

from sightweave.core.config import build
from sightweave.core.errors import RecipeError
from sightweave.programs.training.schedule import Schedule, ScheduleConfig


def factors(**arguments: object) -> list[float]:
    schedule = Schedule(**arguments)  # type: ignore[arg-type]
    return [schedule.factor(step) for step in range(schedule.steps)]


def test_wsd_rises_stays_and_falls_in_straight_lines() -> None:
    values = factors(steps=100, name="wsd", warmup_steps=9, cooldown=0.4)
    assert values[:9] == pytest.approx([(step + 1) / 10 for step in range(9)])
    assert values[9:61] == [1.0] * 52
    assert values[60:] == pytest.approx([1 - step / 40 for step in range(40)])
    assert values[-1] == pytest.approx(1 / 40)


def test_cosine_is_half_way_in_the_middle() -> None:
    values = factors(steps=110, name="cosine", warmup_steps=10, min_lr_ratio=0.1)
    assert values[10] == 1.0
    assert values[60] == pytest.approx(0.55)
    assert all(a > b for a, b in itertools.pairwise(values[10:]))
    assert Schedule(steps=110, name="cosine", min_lr_ratio=0.1).factor(110) == pytest.approx(0.1)


def test_constant_stays() -> None:
    assert factors(steps=20, name="constant", warmup_steps=4, cooldown=1.0)[4:] == [1.0] * 16


@pytest.mark.parametrize("form", ["wsd", "cosine", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_a_run_shorter_than_its_warm_up_still_reaches_the_peak(form: str, steps: int) -> None:
    values = factors(steps=steps, name=form, warmup_steps=50)
    assert max(values) == 1.0
    assert min(values) > 0


def test_warm_up_and_fall_that_overlap_never_pass_the_peak() -> None:
    values = factors(steps=10, name="wsd", warmup_steps=5, cooldown=1.0)
    assert values == sorted(values[:6]) + sorted(values[6:], reverse=True)
    assert max(values) == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 0}, r"at least 1 step \(got 0\)"),
        ({"steps": 5, "name": "linear"}, "cosine, wsd or constant \\(got 'linear'\\)"),
        ({"steps": 5, "warmup_steps": -1}, r"warmup_steps must be 0 or more \(got -1\)"),
        ({"steps": 5, "cooldown": 1.5}, r"cooldown must be from 0 to 1 \(got 1.5\)"),
        ({"steps": 5, "min_lr_ratio": -0.1}, r"min_lr_ratio must be from 0 to 1 \(got -0.1\)"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Schedule(**arguments)  # type: ignore[arg-type]


def test_the_config_builds_it() -> None:
    made = build(ScheduleConfig, {"name": "cosine", "warmup_steps": 2}).build(steps=10)
    assert [made.name, made.steps, made.warmup_steps] == ["cosine", 10, 2]
    with pytest.raises(RecipeError, match="warmup: unknown key"):
        build(ScheduleConfig, {"warmup": 2})
