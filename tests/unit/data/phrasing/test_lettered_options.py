"""Options in a prompt: listed once, answered by text or letter, and true in every order."""

from __future__ import annotations

from typing import Any

import pytest

from sightweave.answers.metrics import multiple_choice, vqa_official
from sightweave.core import catalog
from sightweave.data.phrasing.lettered_options import (
    answered,
    hides_options,
    listing,
    rotate,
    with_listing,
    without_listing,
)
from sightweave.data.tasks import reasoning, vqa

COLOURS = ("red", "green", "blue")


def sample(
    task: str = "vqa", options: tuple[str, ...] = COLOURS, answer: str = "green", **fields: Any
) -> Any:
    made = catalog.config_class("data.tasks", task)(**{"list_options": True, **fields}).build()
    more = {"rationale": "I see."} if task == "reasoning" else {}
    record = {"vqa": vqa, "reasoning": reasoning}[task].Record
    return made.sample(
        record(id="r", images=(), question="Which?", answers=(answer,), options=options, **more)
    )


def test_each_option_has_a_line_and_a_letter() -> None:
    assert listing(COLOURS) == "A. red\nB. green\nC. blue"
    assert with_listing("Which?", COLOURS) == "Which?\nA. red\nB. green\nC. blue"


def test_nothing_is_listed_twice_nor_without_letters() -> None:
    once = with_listing("Which?", COLOURS)
    assert with_listing(once, COLOURS) == once
    assert with_listing(f"{once}\nChoose one.", COLOURS) == f"{once}\nChoose one."
    other = with_listing("Which?", ("red", "green", "blueish"))
    assert with_listing(other, COLOURS) == f"{other}\n{listing(COLOURS)}"
    assert with_listing("Which?", ()) == "Which?"
    assert with_listing("Which?", [f"o{n}" for n in range(27)]) == "Which?"


@pytest.mark.parametrize("task", ["vqa", "reasoning"])
def test_a_recipe_decides_whether_options_are_listed_and_how_they_are_answered(task: str) -> None:
    steps = "I see. Answer: " if task == "reasoning" else ""
    plain = sample(task, list_options=False, answer_with="letter")
    assert (plain.prompt, plain.target, plain.references) == ("Which?", f"{steps}green", ("green",))
    by_text, by_letter = sample(task), sample(task, answer_with="letter")
    assert by_text.prompt == by_letter.prompt == "Which?\nA. red\nB. green\nC. blue"
    assert (by_text.target, by_letter.target) == (f"{steps}green", f"{steps}B")
    assert by_text.references == by_letter.references == ("green", "B")


def test_upper_case_does_not_hide_an_option() -> None:
    assert answered("Green", ("Green",), COLOURS, "letter") == ("B", ("Green", "B"))
    assert answered("May", ("May",), ("may", "May"), "letter") == ("B", ("May", "B"))
    assert answered("pink", ("pink",), COLOURS, "letter") == ("pink", ("pink",))


def test_votes_are_counted_as_if_nothing_were_listed() -> None:
    votes = ("red",) * 2 + ("blue",) * 8
    record = vqa.Record(id="r", images=(), question="?", answers=("red",), options=COLOURS, references=votes)
    metric = vqa_official.Config().build()
    for lists in (False, True):
        asked = vqa.Config(list_options=lists).build().sample(record)
        assert metric.total(metric.rows(["red"], [asked])[0]) == pytest.approx(
            0.6
        )  # (2 * 1/3 + 8 * 2/3) / 10


@pytest.mark.parametrize("task", ["vqa", "reasoning"])
@pytest.mark.parametrize("way", ["text", "letter"])
def test_what_is_learnt_is_right_in_every_rotation(task: str, way: str) -> None:
    metric = multiple_choice.Config().build()
    parse = catalog.config_class("data.tasks", task)().build().parse
    first = sample(task, answer_with=way)
    turned = [rotate(first, by) for by in range(4)]
    assert [one.options[0] for one in turned] == ["red", "green", "blue", "red"]
    said = [parse(one.target) for one in turned]
    assert said == (["green"] * 4 if way == "text" else ["B", "A", "C", "B"])
    assert metric.rows(said, turned).tolist() == [[1, 1]] * 4
    assert metric.rows([parse(first.target)] * 4, turned)[:, 0].mean() == (1 if way == "text" else 0.5)


def test_the_end_of_an_options_text_is_no_letter() -> None:
    vitamins = sample("reasoning", ("Vitamin A", "Vitamin B"), "Vitamin A")
    turned = rotate(vitamins, 1)
    assert turned.target == vitamins.target == "I see. Answer: Vitamin A"
    assert turned.references == ("Vitamin A", "B")


def test_options_that_are_letters_are_answered_by_their_texts_alone() -> None:
    letters = sample(options=("B", "A"), answer="B", answer_with="letter")
    assert (letters.target, letters.references) == ("B", ("B",))
    turned = rotate(letters, 1)
    assert (turned.prompt, turned.references) == ("Which?\nA. A\nB. B", ("B",))


def test_what_lists_no_options_cannot_be_turned() -> None:
    record = vqa.Record(id="r", images=(), question="Which?", answers=("red",), options=COLOURS)
    assert rotate(vqa.Config().build().sample(record), 1) is None
    assert rotate(sample(options=("red",), answer="red"), 1) is None


@pytest.mark.parametrize("options", [COLOURS, ("a\u2028b", "c"), ("one",)])
def test_a_list_is_taken_off_again(options: tuple[str, ...]) -> None:
    assert without_listing(with_listing("Which?", options), options) == "Which?"
    assert without_listing("Which?\nA. red", COLOURS) == "Which?\nA. red"
    assert without_listing("Which?\n", options) == "Which?\n"
    assert without_listing("Which?", ()) == "Which?"


def test_options_that_a_prompt_does_not_name_are_hidden() -> None:
    assert hides_options(sample(list_options=False))
    assert not hides_options(sample())
    asked = vqa.Record(id="r", images=(), question="Red, green or blue?", answers=("red",), options=COLOURS)
    assert not hides_options(vqa.Config().build().sample(asked))
    assert not hides_options(sample(options=()))
