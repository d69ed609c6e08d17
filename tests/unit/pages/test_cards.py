"""Cards: what changes with the picture, and how many fit."""

import numpy as np
import pytest

from sightweave.pages.cards import card, difference_key, fitting, shower
from sightweave.pages.difference import Difference


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


def test_an_answer_with_images_shows_them_in_order():
    pixels = np.zeros((8, 8, 3), np.uint8)
    keys = {"rendered": "a#rendered", "image_tokens": "a#image_tokens", "other": "unknown"}
    shown = row(None, image="a", target_image="a/de", pictures=keys)
    known = ["a", "a/de", "a#rendered", "a#image_tokens", difference_key("a#rendered")]
    show = shower(dict.fromkeys(known, pixels))
    found = card(shown, show, {"a#rendered": Difference(pixels, 0.251, 0.0)})["figures"]
    assert [one["name"] for one in found] == [
        "source",
        "reference",
        "answer (rendered)",
        "difference",
        "answer (image tokens)",
    ]
    assert [one["note"] for one in found if one["note"]] == ["changed: 25.1 % of the boxes, 0.0 % outside"]
    assert card(row(None, image="a"), show)["figures"] == []


def test_a_control_with_the_same_image_does_not_show_it_again():
    show = shower({"a": np.zeros((8, 8, 3), np.uint8), "b": np.ones((8, 8, 3), np.uint8)})
    answer = {"answer": "bat", "right": False}
    found = card(
        row(None, image="a")
        | {
            "controls": {
                "copied_source": {**answer, "image": "a"},
                "shuffled_image": {**answer, "image": "b"},
            }
        },
        show,
    )
    shown = {one["name"]: bool(one["picture"]) for one in found["controls"]}
    assert shown == {"a copy of the source": False, "with another image": True}
