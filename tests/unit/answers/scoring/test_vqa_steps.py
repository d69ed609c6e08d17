"""The steps that make answers comparable, one by one, and the vote."""

import pytest

from sightweave.answers.metrics import vqa_official
from sightweave.answers.scoring import vqa_steps
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("t-shirt", "t shirt"),  # nothing beside a space: a space takes its place
        ("a - b", "a  b"),  # beside a space: dropped
        ("a- b-c", "a bc"),  # beside a space once, dropped everywhere
        ("1,000-2", "10002"),  # a comma between digits drops all marks
        ("3.5", "3.5"),
        ("5.", "5"),
        ("u.s.", "us"),
        ("it's 5:30", "it's 5:30"),
        (".a" * 40, "a" * 32 + ".a" * 8),  # only the first 32 periods
    ],
)
def test_punctuation(text, kept):
    assert vqa_steps.without_punctuation(text) == kept


def test_what_a_digit_is_can_be_chosen():
    assert vqa_steps.without_punctuation("5.\u0663") == "5.\u0663"
    assert vqa_steps.without_punctuation("5.\u0663", digits="[0-9]") == "5\u0663"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Two  dogs", "2 dogs"),
        ("None", "0"),
        ("a an the", ""),
        ("dont", "don't"),
        ("couldnt've couldn'tve couldntve", "couldn't've couldn't've couldntve"),
        ("somebody'd", "somebodyd"),  # the published slip
        ("lets shes Im", "lets shes im"),
        ("twas yalld've y'alld've", "'twas yalld've y'all'd've"),
    ],
)
def test_words(text, words):
    assert vqa_steps.plain_words(text) == words


@pytest.mark.parametrize(
    ("same", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0), (10, 1.0)]
)
def test_the_table_of_matches_among_ten(same, score):
    people = ["red"] * same + [f"other {number}" for number in range(10 - same)]
    assert vqa_steps.vote("red", people) == pytest.approx(score, abs=1e-12)
    if same >= 4:
        assert vqa_steps.vote("red", people) == 1.0  # exactly: the program calls it right


def test_under_four_people_are_refused_with_the_number():
    samples = [Sample(id="q7", task="vqa", parts=(), references=("red",) * 3)]
    with pytest.raises(
        DataError, match=r"vqa_official: 1 of 1 samples have under 4 .*'q7' with 3.*exact_match"
    ):
        vqa_official.Config().build().rows(["red"], samples)
