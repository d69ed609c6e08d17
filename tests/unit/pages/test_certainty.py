"""Drawings and words on calibration say what the numbers say."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from sightweave.pages import certainty
from sightweave.programs.evaluation import calibration


def found(right: list[int]) -> dict:
    """Ever less sure answers, through JSON as a page gets it."""
    sure = np.linspace(0.95, 0.05, len(right))
    return json.loads(json.dumps(dataclasses.asdict(calibration.calibration(sure, np.array(right)))))


def test_it_tolerates_what_an_evaluation_chose_its_threshold_for():
    assert certainty.TOLERATED == calibration.ERROR_RATE


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (
            [1] * 20 + [0] * 20,
            "Answering only the 52.5 % most confident answers keeps errors under 5 % (4.8 % of them",
        ),
        ([1] * 20, "Answering everything keeps errors under 5 % (0.0 %"),
        ([0] * 5 + [1] * 5, "No threshold keeps errors under 5 %"),
    ],
)
def test_the_sentence(right, words):
    assert words in certainty.sentence(found(right)["selection"])


def points(svg: str, css: str) -> int:
    """Dots of one colour."""
    dots = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}circle")
    return sum(css in one.get("class", "") for one in dots)


def test_each_bin_is_a_point():
    values = found([1, 0] * 20)
    svg = certainty.reliability(values["bins"])
    assert points(svg, "series0") == len(values["bins"]) == 15
    assert "style" not in svg
    empty = [*values["bins"], {"count": 0, "confidence": float("nan"), "accuracy": float("nan")}]
    assert points(certainty.reliability(empty), "series0") == 15


def test_the_threshold_is_a_point_where_there_is_one():
    some, none = found([1] * 20 + [0] * 20), found([0] * 5 + [1] * 5)
    assert points(certainty.risk(some["curve"], some["selection"]), "series1") == 1
    assert points(certainty.risk(none["curve"], none["selection"]), "series1") == 0


def test_one_answer_alone_is_drawn_too():
    values = found([1])
    assert points(certainty.reliability(values["bins"]), "series0") == 1
    assert "<svg" in certainty.risk(values["curve"], values["selection"])


def test_a_threshold_for_another_rate_claims_nothing_of_this_one():
    sure = np.linspace(0.95, 0.05, 40)
    chosen = calibration.at_error_rate(sure, np.arange(40) % 4 > 0, 0.3)
    words = certainty.sentence(dataclasses.asdict(chosen))
    assert words.startswith("Answering everything, 25.0 % of them are wrong")
    assert "under 5 %" not in words
