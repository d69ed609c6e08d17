"""Explanations in a terminal: numbers that can be read without colours, and colours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from rich.console import Console

from sightweave.core.explanation import Explanation, MediumValues
from sightweave.pages import explained


def made(*values: np.ndarray, words: list[float] | None = None, unit: str = "nats") -> Explanation:
    media = [
        MediumValues(f"{number}.png", "image", one.astype(np.float32)) for number, one in enumerate(values)
    ]
    return Explanation(
        method="occlusion",
        answer="a red ball",
        word="red",
        against="blue",
        score=2.0,
        unit=unit,
        media=tuple(media),
        tokens=("what", " colour\x1b[2J", " "),
        token_values=None if words is None else np.array(words, np.float32),
        baseline="a grey image",
        completeness_error=0.0021,
    )


def text(explanation: Explanation) -> list[str]:
    return [line.plain for line in explained.lines(explanation)]


def test_a_map_has_a_number_for_each_place() -> None:
    shown = text(made(np.array([[0, 1], [2, -4]]), words=[0.1, 1.0, -0.5]))
    assert shown[0] == "a red ball  (occlusion, word 'red' rather than 'blue')"
    assert shown[2:5] == ["  0  2", "  4 -9", "largest: 2 nats at row 2, column 1"]
    assert shown[6] == "what 1  colour\\x1b[2J 9  _ -4  "
    assert shown[7] == "9 is 1 nats"
    assert shown[-1] == (
        "score 2; 81 % of the values on media; absent: a grey image; completeness error 0.21 %"
    )


def test_all_media_have_one_scale_and_their_names() -> None:
    shown = text(made(np.array([[9.0]]), np.array([[3.0]])))
    assert shown[1:][:7] == ["", "0.png", "  9", "largest: 9 nats at row 1, column 1", "", "1.png", "  3"]


def test_series_and_videos_have_maps_too() -> None:
    series = text(made(np.arange(70)))
    assert len(series[2]) == 64 * 3
    assert len(series[3]) == 6 * 3
    assert series[4] == "largest: 69 nats at place 70"
    video = text(made(np.arange(8).reshape(2, 2, 2)))
    assert video[2:8] == [
        "  0  1",
        "  3  4",
        "",
        "  5  6",
        "  8  9",
        "largest: 7 nats at time 2, row 2, column 2",
    ]


def test_a_medium_without_any_effect_is_said_to_have_none() -> None:
    shown = text(made(np.zeros((1, 2)), words=[0, 0, 0]))
    assert shown[2:4] == ["  0  0", "no place of this medium has any effect"]
    assert "%" not in shown[-1].partition("completeness")[0]


def test_a_method_for_media_only_shows_no_prompt() -> None:
    assert not any("colour" in line for line in text(made(np.ones((1, 1)))))


@pytest.mark.parametrize(
    ("value", "shade"), [(4.0, "\x1b[30;48;2;255;140;0m"), (-4.0, "\x1b[30;48;2;30;110;255m")]
)
def test_colours_are_those_of_the_sign(value: float, shade: str) -> None:
    console = Console(force_terminal=True, color_system="truecolor", width=80)
    with console.capture() as captured:
        for line in explained.lines(dataclasses.replace(made(np.array([[value, 0]])))):
            console.print(line)
    assert shade in captured.get()
