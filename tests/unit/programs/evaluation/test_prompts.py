"""Other words, or options in another order: what is asked, and what is right, stay the same."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from sightweave.core.types import Medium, Part, Sample
from sightweave.data.tasks import vqa
from sightweave.programs.evaluation.controls import CONTROLS
from sightweave.programs.evaluation.prompts import ways_of

PICTURE = Medium(np.zeros((2, 2, 3), np.uint8), "p")


def ask(number: int, options: Sequence[str] = ("red", "green", "blue"), *, lists: bool = False) -> Sample:
    record = vqa.Record(
        id=f"q{number}",
        images=(PICTURE,),
        question="Which colour?",
        answers=(options[0],),
        options=tuple(options),
    )
    return vqa.Config(list_options=lists).build().sample(record)


def test_every_wording_is_used_and_the_seed_decides():
    samples = [ask(n) for n in range(60)]
    found = CONTROLS["reworded"](samples, 0)
    texts = [sample.prompt for sample in found.values()]
    assert list(found) == list(range(60))
    assert set(texts) == {
        "Question: Which colour? Answer:",
        "Please tell me: Which colour?",
        "Which colour? Please answer.",
        "which colour",
    }
    assert texts == [sample.prompt for sample in CONTROLS["reworded"](samples, 0).values()]
    assert texts != [sample.prompt for sample in CONTROLS["reworded"](samples, 1).values()]
    assert all(
        (after.media, after.target, after.references, after.id)
        == (before.media, before.target, before.references, before.id)
        for before, after in zip(samples, found.values(), strict=True)
    )


def test_a_samples_wording_depends_on_no_other_sample():
    samples = [ask(n) for n in range(9)]
    alone = CONTROLS["reworded"](samples[7:8], 3)[0]
    assert alone.prompt == CONTROLS["reworded"](samples, 3)[7].prompt


@pytest.mark.parametrize(
    ("task", "text", "expected"),
    [
        ("vqa", "what is it", ["Question: what is it Answer:", "Please tell me: what is it", "what is it Please answer."]),
        ("vqa", "TV or not?", ["TV or not"]),
        ("vqa", "\u8fd9\u662f\u4ec0\u4e48\uff1f", ["\u8fd9\u662f\u4ec0\u4e48"]),
        ("vqa", "?", []),
        ("vqa", "Which?\nA. Red.\nB. Blue.", ["which\nA. Red.\nB. Blue.", "Question: Which?\nA. Red.\nB. Blue.\nAnswer:"]),
        ("translation", "To German: A bat.", ["Question: To German: A bat.\nAnswer:", "To German: A bat.\nPlease answer."]),
    ],
)  # fmt: skip
def test_wordings_of_a_prompt(task: str, text: str, expected: list[str]):
    ways = ways_of(text, task)
    assert set(expected) <= set(ways)
    assert text not in ways
    bare = [way for way in ways if text not in way]
    assert len(bare) <= 1
    assert task != "translation" or not bare


def test_only_the_last_thing_that_the_user_says_changes():
    turns = ("Hello?", "What is it?")
    said = Part("assistant", "Hello.", learn=True)
    sample = replace(
        ask(0), parts=(Part("user", PICTURE), Part("user", turns[0]), said, Part("user", turns[1]), said)
    )
    (found,) = CONTROLS["reworded"]([sample], 0).values()
    assert found.parts[:3] == sample.parts[:3]
    assert found.parts[4] == said
    assert found.parts[3].content in ways_of(turns[1], "vqa")


def test_what_has_no_picture_or_no_words_stays_out():
    blind = replace(ask(0, lists=True), parts=ask(0, lists=True).parts[1:])
    wordless = replace(ask(1), parts=(ask(1).parts[0], ask(1).parts[-1]))
    for control in ("reworded", "rotated_options"):
        assert CONTROLS[control]([blind, wordless], 0) == {}


def test_options_are_listed_in_another_order():
    assert CONTROLS["rotated_options"]([ask(0)], 0) == {}
    found = CONTROLS["rotated_options"]([ask(0), ask(1, lists=True)], 0)
    assert list(found) == [1]
    assert found[1].prompt == "Which colour?\nA. green\nB. blue\nC. red"
    assert (found[1].options, found[1].references) == (("green", "blue", "red"), ("red", "C"))
