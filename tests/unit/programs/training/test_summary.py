"""What training says before and after: passes, time, and whether it was long enough."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sightweave.programs.training.durations import Epoch
from sightweave.programs.training.settings import Settings, Stage
from sightweave.programs.training.summary import (
    advice,
    duration,
    effective_batch,
    scaling,
    start,
    still_falling,
)
from sightweave.programs.training.trial import Trials

WORDS, ANSWERS = Stage(name="words", steps=100, batch_size=14), Stage(name="answers", steps=500, batch_size=7)
EPOCHS = [Epoch(280, 280, 280), Epoch(280, 1400, 280)]


def noisy(values: np.ndarray, spread: float = 0.02) -> list[float]:
    return list(values * np.random.default_rng(0).normal(1, spread, len(values)))


def test_the_start_says_pictures_samples_passes_and_time() -> None:
    stages = (WORDS, ANSWERS)
    trials = Trials.of(stages, [{1: 0.1}, {1: 0.5}], otherwise=1)
    assert start(Settings(stages=stages), EPOCHS, trials) == [
        "stage words: 100 steps of 14 images, 5 passes over 280 images with 280 samples, about 10 s",
        "stage answers: 500 steps of 7 images, 12.5 passes over 280 images with 1,400 samples, about 4 min",
        "training takes about 4 min in all",
    ]


def test_the_start_says_only_what_is_known() -> None:
    stages = (Stage(name="timed", minutes=3), ANSWERS)
    trials = Trials.of(stages, [{2: 0.1, 1: 0.1}, None], otherwise=2)
    lines = start(Settings(stages=stages), EPOCHS, trials)
    assert (
        lines[0]
        == "stage timed: 3 minutes with steps of 8 images, on 280 images with 280 samples, about 3 min"
    )
    assert lines[1].endswith("1,400 samples")
    assert lines[2].startswith("threads: 1 of 2")
    assert len(lines) == 3


def test_less_than_a_pass_is_told_in_pictures() -> None:
    (line,) = start(
        Settings(stages=(WORDS,)), [Epoch(1e6, 9e6, 2e6)], Trials.of((WORDS,), [None], otherwise=1)
    )
    assert line == "stage words: 100 steps of 14 images, on 1,400 of 1,000,000 images with 9,000,000 samples"


def test_the_effective_batch_is_said_with_what_it_is_made_of() -> None:
    one = Stage(steps=5, batch_size=4, gradient_accumulation_steps=3)
    assert effective_batch(one) == "12 images (batch_size 4 x gradient_accumulation_steps 3)"
    assert effective_batch(one, processes=2).endswith("gradient_accumulation_steps 3, shared by 2 processes)")
    assert effective_batch(Stage(steps=5, batch_size=4), processes=2) == "4 images (shared by 2 processes)"
    assert effective_batch(Stage(steps=5, batch_size=1)) == "1 image"


def test_a_learning_rate_that_is_scaled_is_said() -> None:
    settings = Settings(stages=(WORDS, ANSWERS), scale_lr="sqrt", base_batch_size=28)
    assert list(scaling(settings)) == [
        "stage words: learning rate 0.000707 = 0.001 x 0.707 (scale_lr sqrt, 14 images per update, base_batch_size 28)",
        "stage answers: learning rate 0.0005 = 0.001 x 0.5 (scale_lr sqrt, 7 images per update, base_batch_size 28)",
    ]
    trials = Trials.of((WORDS, ANSWERS), [None, None], otherwise=1)
    assert start(settings, EPOCHS, trials)[-2:] == list(scaling(settings))
    assert list(scaling(Settings(stages=(WORDS,)))) == []


def test_times_are_rounded_for_a_reader() -> None:
    assert [duration(s) for s in (0.2, 40, 89, 100, 3600, 7800)] == [
        "1 s",
        "40 s",
        "89 s",
        "2 min",
        "60 min",
        "2 h 10 min",
    ]


def test_a_loss_that_falls_to_the_end_is_said_with_what_to_try() -> None:
    falling = noisy(np.linspace(2, 0.5, 40))
    first, last = still_falling(falling) or (0, 0)
    assert 0.9 < first < 1.1
    assert 0.45 < last < 0.6
    said = list(advice(Settings(stages=(WORDS, ANSWERS)), [noisy(np.full(20, 3.0)), falling]))
    assert "the loss was still falling when stage answers ended" in said[0]
    assert said[1:] == ["try: train.stages.1.steps=1000"]


@pytest.mark.parametrize(
    "losses",
    [
        noisy(np.full(40, 1.0)),
        noisy(np.linspace(1, 2, 40)),
        noisy(np.geomspace(2, 0.001, 40)),  # there is nothing left to learn
        noisy(np.linspace(1.0, 0.99, 40)),
        noisy(np.linspace(1.1, 0.95, 40), spread=0.5),  # chance may have made it
        list(np.linspace(2, 1, 9)),  # too few rows to tell
        [*np.linspace(2, 1, 20), math.nan],
    ],
)
def test_other_losses_give_no_advice(losses: list[float]) -> None:
    assert still_falling(losses) is None
    assert not list(advice(Settings(stages=(ANSWERS,)), [losses]))
