"""Cards: what changes with the picture, and how many fit."""

import numpy as np
import pytest

from sightweave.pages.cards import card, fitting, shower


def row(blind: dict | None, **more) -> dict:
    controls = {} if blind is None else {"no_image": {"right": False, **blind}}
    return {
        "task": "vqa",
        "prompt": "which?",
        "answer": "It is Red",
        "parsed": "Red",
        "right": True,
        "controls": controls,
        **more,
    }


@pytest.mark.parametrize(
    ("blind", "changes"),
    [
        ({"answer": "it must be red", "parsed": "red "}, "no"),
        ({"answer": "blue", "parsed": "blue"}, "yes"),
        ({"answer": "?", "parsed": None}, "yes"),
        (None, ""),
    ],
)
def test_whether_the_picture_changes_what_is_read(blind, changes):
    assert card(row(blind), shower({}))["changes"] == changes


def test_rows_of_earlier_versions_make_cards():
    found = card({"split": "", "task": "vqa", "answer": "red"}, shower({}))
    assert (found["split"], found["answer"], found["certainty"]) == ("evaluation", "red", "")
    assert not found["is_unparsed"]


def test_a_picture_is_encoded_once_per_size():
    show = shower({"p": np.zeros((100, 50, 3), np.uint8)})
    assert show("p", 72) is show("p", 72)
    assert show("p", 72) != show("p", 20)
    assert show("q", 72) == ""


def test_cards_that_do_not_fit_are_left_out_evenly():
    cards = [card(row(None, prompt=f"{n}" + 800 * "<"), shower({})) for n in range(100)]
    kept = fitting(cards, 500_000)
    numbers = [int(one["prompt"].split("<")[0]) for one in kept]
    assert 10 < len(kept) < 100
    assert max(np.diff(numbers)) <= 100 // len(kept) + 1
    assert fitting(cards, 10**8) == cards
    assert fitting(cards, -5) == []
