"""Options: what names one, what names none, never a guess, and which are right."""

import numpy as np
import pytest

from sightweave.answers.scoring import named_options
from sightweave.core.errors import DataError
from sightweave.core.types import Sample

COLOURS = ("red", "dark red", "blue", "no colour")


def sample(*references: str, options: tuple[str, ...] = COLOURS) -> Sample:
    return Sample(id="m1", task="vqa", parts=(), references=references, options=options)


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("red", 0),
        ("Dark  Red.", 1),
        ("C", 2),
        ("c", 2),
        ("(c)", 2),
        ("**C**", 2),
        ("C.", 2),
        ("C. blue", 2),
        ("C: it is blue, not red", 2),
        ("(b) dark red", 1),
        ("The answer is B", 1),
        ("The correct answer is: (b).", 1),
        ("Answer: b", 1),
        ("Option C is right. Option A is wrong.", 2),
        ("It is dark red", 1),
        ("The car is blue.", 2),
        ("Blue, not any other", 2),
        ("The answer is C or so I think", 2),
        ("The answer is C and it is blue", 2),
        ("B. A dark red car", 1),
        ("no colour at all", 3),
        # None of these names one option.
        ("", None),
        ("E", None),
        ("green", None),
        ("reddish", None),
        ("red-brown", None),
        ("red or blue", None),
        ("A. blue", None),
        ("A or B", None),
        ("The answer is A or the answer is B", None),
        ("The answer is A or B", None),
        ("Answer: B, C", None),
        ("Answer: B/C", None),
        ("(a) or (c)", None),
        ("C or D.", None),
        ("It is not blue", None),
        ("It isn't blue", None),
        ("The answer is A dog", None),
        ("I think a dog", None),
        ("a cat", None),
    ],
)
def test_reading_an_answer(answer, index):
    assert named_options.choose(answer, COLOURS) == index


@pytest.mark.parametrize(
    ("answer", "options", "index"),
    [
        ("No, there is not.", ("Yes", "No"), 1),
        ("Yes, no doubt", ("Yes", "No"), None),
        ("3", ("1", "2", "3"), 2),
        ("There are 3 dogs", ("1", "2", "3"), 2),
        ("3.5", ("1", "2", "3"), None),
        ("B", ("C", "B", "A"), 1),  # an option's text before its letter
        ("B", ("A", "D", "B"), 2),
        ("a", ("x", "a"), 1),
        ("a dog", ("a", "b"), None),
        ("B. dark red", ("dark", "dark red"), 1),
        ("A. dark red", ("dark", "dark red"), None),
        ("red", ("red", "red", "blue"), 0),
        ("anything", ("", "x"), None),
        ("A.", ("", "x"), 0),
        ("caf\u00e9", ("cafe\u0301", "tea"), 0),
        ("1 + 1 (two)", ("(two)", "three"), 0),
        ("x" * 5000, ("x", "y"), None),
    ],
)
def test_reading_with_other_options(answer, options, index):
    assert named_options.choose(answer, options) == index


def test_every_letter_and_every_text_names_its_own_option_in_any_order():
    rng = np.random.default_rng(0)
    words = [f"thing {number}" for number in range(26)]
    for _ in range(20):
        options = tuple(rng.permutation(words)[: rng.integers(2, 27)])
        for number, option in enumerate(options):
            letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[number]
            for said in (
                letter,
                f"{letter}. {option}",
                f"({letter})",
                f"The answer is {letter}.",
                f"It is {option}!",
            ):
                assert named_options.choose(said, options) == number, (said, options)


def test_right_options_are_named_by_text_or_letter():
    assert named_options.wanted("m", sample("Blue", "a")) == {"blue", "red"}
    assert named_options.wanted("m", sample("B", options=("A", "D", "B"))) == {"b"}  # a text before a letter
    assert named_options.is_right("m", "(c)", sample("blue"))
    assert not named_options.is_right("m", None, sample("blue"))
    with pytest.raises(DataError, match=r"m: reference 'green' of sample 'm1' is not one of its options"):
        named_options.wanted("m", sample("blue", "green"))
    with pytest.raises(DataError, match="m: sample 'm1' has 0 options; the metric needs 1 to 26"):
        named_options.is_right("m", "x", sample("blue", options=()))
