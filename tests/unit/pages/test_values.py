"""Numbers as a reader wants them."""

import math

import pytest

from sightweave.pages.values import estimate, number, p_value, text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "yes"),
        (None, "not known"),
        (12, "12"),
        (1_070_432, "1\u202f070\u202f432"),
        (0.123456, "0.1235"),
        (123456.7, "123\u202f457"),
        ("a text", "a text"),
        ({"torch": "2.6", "python": "3.11"}, "torch 2.6, python 3.11"),
        (["a", 1], "a, 1"),
    ],
)
def test_facts(value, words):
    assert text(value) == words


def test_numbers_are_shares_unless_a_unit_says_otherwise():
    assert number(0.123) == "12.3"
    assert number(-0.123, is_signed=True) == "\u221212.3"
    assert number(0.123, is_signed=True) == "+12.3"
    assert number(1.23456, "nats per token") == "1.235"
    assert number(None) == number(math.nan) == ""


def test_estimates():
    assert estimate({"value": 0.5, "low": 0.4, "high": 0.6}) == {"value": "50.0", "range": "40.0 to 60.0"}
    assert estimate({"value": 0.5, "low": math.nan, "high": math.nan}) == {"value": "50.0", "range": ""}
    assert estimate(0.5) == {"value": "50.0", "range": ""}
    assert estimate(None) is None
    assert estimate({"value": math.nan, "low": 0.0, "high": 1.0}) is None


def test_p_values():
    assert [p_value(p) for p in (0.00002, 0.0123, 0.5, None)] == ["p < 0.001", "p 0.012", "p 0.50", ""]
