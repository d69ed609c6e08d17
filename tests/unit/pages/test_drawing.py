"""Axes with round ticks, and charts that put each number where its axis says."""

import xml.etree.ElementTree as ElementTree

import pytest

from sightweave.pages.drawing import Chart, linear, logarithmic, text

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("ends", "labels"),
    [
        ((0, 100), ("0", "20", "40", "60", "80", "100")),
        ((0, 1), ("0", "0.2", "0.4", "0.6", "0.8", "1")),
        ((-0.3, 2.1), ("0", "0.5", "1", "1.5", "2")),
        ((0.00012, 0.0009), ("0.0002", "0.0004", "0.0006", "0.0008")),
        ((1e6, 1e6 + 4), ("1000000", "1000001", "1000002", "1000003", "1000004")),
    ],
)
def test_ticks_are_round_and_inside(ends, labels):
    axis = linear(*ends)
    assert axis.labels == labels
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)
    assert (axis.share(ends[0]), axis.share(ends[1])) == (0, 1)


def test_whole_numbers_have_ticks_at_whole_numbers():
    assert linear(0, 3, ticks=6, whole=True).ticks == (0, 1, 2, 3)
    assert linear(7, 2000, ticks=6, whole=True).ticks == (500, 1000, 1500, 2000)


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-9])
def test_one_value_alone_has_an_axis(value):
    axis = linear(value, value)
    assert axis.share(value) == pytest.approx(0.5)
    assert axis.ticks


@pytest.mark.parametrize(
    ("ends", "labels"),
    [
        ((0.04, 3), ("0.05", "0.1", "0.2", "0.5", "1", "2")),
        ((0.001, 10), ("0.001", "0.01", "0.1", "1", "10")),
        ((1e-12, 1), ("1e-12", "1e-10", "1e-08", "1e-06", "0.0001", "0.01", "1")),
    ],
)
def test_logarithmic_ticks_are_few(ends, labels):
    axis = logarithmic(*ends)
    assert axis.labels == labels
    assert axis.share((ends[0] * ends[1]) ** 0.5) == pytest.approx(0.5)


def test_one_positive_value_alone_has_a_logarithmic_axis():
    assert logarithmic(3, 3).share(3) == pytest.approx(0.5)


def test_a_dot_is_level_with_its_ticks():
    chart = Chart(x=linear(0, 10), y=linear(0, 10), x_label="across", y_label="up")
    chart.dot((4, 6), "series0")
    root = ElementTree.fromstring(chart.svg())
    dot = root.find(f"{SVG}circle")
    labels = {
        (one.get("text-anchor"), one.text): (float(one.get("x")), float(one.get("y")))
        for one in root.iter(f"{SVG}text")
    }
    assert float(dot.get("cx")) == pytest.approx(labels["middle", "4"][0], abs=0.1)
    assert float(dot.get("cy")) == pytest.approx(labels["end", "6"][1] - 2.7, abs=0.1)
    assert {"across", "up"} <= {one.text for one in root.iter(f"{SVG}text")}


def test_words_are_only_words():
    words = '<b>&"'
    element = ElementTree.fromstring(text(0, 0, words))
    assert element.text == words
    assert len(element) == 0
