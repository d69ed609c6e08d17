"""How long a stage trains: by steps, by passes over the data, or by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from contracts._compose import picture

from sightweave.core.errors import RecipeError
from sightweave.data.datasets import own
from sightweave.data.inputs.order import Mixing
from sightweave.data.tasks import captioning, vqa
from sightweave.programs.training.durations import Pace, epochs, in_steps, per_step, resolved
from sightweave.programs.training.schedule import ScheduleConfig
from sightweave.programs.training.settings import Settings, Stage


class Pictures:
    """Pictures with two questions each; every second one has a caption, too."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> list[Any]:
        image = (picture(index),)
        records: list[Any] = [
            vqa.Record(id=f"{index}-{n}", images=image, question=f"what {n}?", answers=("red",)) for n in "ab"
        ]
        if index % 2:
            records.append(captioning.Record(id=f"{index}-c", images=image, captions=("a red one",)))
        return records

    def texts(self) -> Iterator[str]:
        yield "red"


def steps(stage: Stage, *sizes: int, mix: tuple[Mixing, ...] = ()) -> int | None:
    found = epochs([stage], [Pictures(size) for size in sizes], {}, mix)
    return resolved(Settings(stages=(stage,)), found).stages[0].steps


def test_steps_follow_from_passes_over_the_pictures() -> None:
    assert steps(Stage(epochs=3, batch_size=4, gradient_accumulation_steps=2), 80) == 30
    assert steps(Stage(epochs=0.5, batch_size=4), 80) == 10
    assert steps(Stage(epochs=3, batch_size=4), 30, 50) == 60
    assert steps(Stage(epochs=0.001, batch_size=4), 80) == 1
    assert steps(Stage(steps=7), 80) == 7


def test_a_source_that_comes_more_often_makes_the_epoch_longer() -> None:
    assert steps(Stage(epochs=1, batch_size=10), 50, 50, mix=(Mixing(), Mixing(epochs=3))) == 20


def test_bounds_hold_on_both_sides() -> None:
    bounds = {"min_steps": 20, "max_steps": 50}
    assert steps(Stage(epochs=1, batch_size=10, **bounds), 80) == 20
    assert steps(Stage(epochs=3, batch_size=10, **bounds), 80) == 24
    assert steps(Stage(epochs=30, batch_size=10, **bounds), 80) == 50


def test_only_pictures_with_a_sample_of_the_stages_tasks_count() -> None:
    found = epochs([Stage(epochs=2, batch_size=1, tasks=("captioning",))], [Pictures(80)], {})
    assert (found[0].pictures, found[0].samples) == (40, 40)
    assert steps(Stage(epochs=2, batch_size=1, tasks=("captioning",)), 80) == 80


def test_an_epoch_shows_each_sample_about_once() -> None:
    stage = Stage(epochs=1, batch_size=1, samples_per_image=1)
    assert epochs([stage], [Pictures(80)], {})[0].samples == 200
    assert steps(stage, 80) == 200
    assert steps(Stage(epochs=1, batch_size=1, samples_per_image=5), 80) == 80
    # A stage that learns words looks at the pictures alone.
    assert (
        steps(Stage(epochs=1, batch_size=1, samples_per_image=1, learn="words", words="captions"), 80) == 80
    )


def test_samples_of_many_rows_are_counted_on_a_draw_over_all_of_them() -> None:
    image = picture(0).source
    rows = [
        {"image": image, "question": f"what {n}?", "answer": "red", "split": "train"} for n in range(5000)
    ]
    table = own.from_records([{**row, "id": str(n)} for n, row in enumerate(rows)])
    (found,) = epochs([Stage(epochs=1)], [table], {})
    assert found.samples == 5000


def test_a_stage_has_exactly_one_duration() -> None:
    for wrong, said in (
        ({}, r"exactly one of steps, epochs, minutes \(got none of them\)"),
        ({"steps": 5, "epochs": 2}, r"exactly one of .* \(got steps=5, epochs=2\)"),
        ({"epochs": 2, "minutes": 0.5}, r"\(got epochs=2, minutes=0.5\)"),
        ({"steps": 5, "min_steps": 2}, r"min_steps \(2\), which limits epochs, but sets steps"),
        ({"epochs": 1, "min_steps": 9, "max_steps": 2}, r"min_steps \(9\) is above max_steps \(2\)"),
    ):
        with pytest.raises(ValueError, match=said):
            Stage(**wrong)
    for name in ("steps", "epochs", "minutes"):
        for value in (0, -1):
            with pytest.raises(ValueError, match="greater than 0"):
                Stage(**{name: value})


def test_a_stage_in_steps_has_no_other_duration() -> None:
    for stage in (Stage(epochs=1, min_steps=2, max_steps=9), Stage(minutes=2), Stage(steps=4)):
        found = in_steps(stage, 6)
        assert (found.steps, found.epochs, found.minutes) == (6, None, None)
        assert per_step(found) == per_step(stage)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_the_schedule_of_a_stage_of_minutes_follows_the_clock() -> None:
    clock = Clock()
    stage = Stage(minutes=10, schedule=ScheduleConfig(name="wsd", warmup_steps=4, cooldown=0.5))
    pace = Pace(stage, clock)
    assert [pace.factor(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    clock.seconds += 240
    assert pace.factor(50) == 1.0
    clock.seconds += 210  # a quarter of the time is left, half of the fall
    assert pace.factor(90) == pytest.approx(0.5, abs=1e-3)
    assert pace.expected(90) == 120
    assert not pace.is_over(90)
    clock.seconds += 151
    assert pace.is_over(121)
    assert pace.factor(121) == 0.0


def test_a_slow_stage_of_minutes_still_reaches_the_peak_and_makes_a_step() -> None:
    clock = Clock()
    pace = Pace(Stage(minutes=1, schedule=ScheduleConfig(warmup_steps=1000, cooldown=0.2)), clock)
    clock.seconds += 30
    assert pace.factor(3) == 1.0
    clock.seconds += 300
    assert not pace.is_over(0)
    assert pace.is_over(1)


def test_a_stage_of_steps_is_paced_by_its_schedule_alone() -> None:
    stage = Stage(steps=8, schedule=ScheduleConfig(warmup_steps=2, cooldown=0.5))
    pace, schedule = Pace(stage), stage.schedule.build(steps=8)
    assert [pace.factor(n) for n in range(8)] == [schedule.factor(n) for n in range(8)]
    assert [pace.is_over(n) for n in (0, 7, 8)] == [False, False, True]
    assert pace.expected(3) == 8


def test_a_setting_of_another_duration_replaces_the_recipes(tmp_path: Any) -> None:
    from tiny import MODEL

    from sightweave.recipe import read

    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"data: scenes\nmodel: {MODEL}\ntrain: {{stages: [{{epochs: 2, min_steps: 3}}, {{steps: 4}}]}}\n"
    )
    stages = read(path, ["train.stages.0.steps=9", "train.stages.1.minutes=1.5"]).train.stages
    assert [(one.steps, one.epochs, one.minutes, one.min_steps) for one in stages] == [
        (9, None, None, None),
        (None, None, 1.5, None),
    ]
    kept = read(path, ["train.stages.0.max_steps=8", "train.stages.0.batch_size=2"]).train.stages[0]
    assert (kept.epochs, kept.min_steps, kept.max_steps) == (2, 3, 8)
    with pytest.raises(RecipeError, match=r"train.stages.0: .*exactly one .*got steps=2, minutes=3"):
        read(path, ["train.stages.0.steps=2", "train.stages.0.minutes=3"])
