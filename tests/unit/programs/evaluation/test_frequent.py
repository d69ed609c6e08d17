"""What occurs often is counted in a stream of any length, and how far a count may be off is known."""

import random
from collections import Counter

import pytest

from sightweave.programs.evaluation.frequent import Frequent


def counted(texts: list[str], room: int) -> Frequent:
    found = Frequent(room)
    for text in texts:
        found.add(text)
    return found


def test_few_texts_are_counted_exactly():
    found = counted(["b", "a", "b", "c", "a"], room=2)
    assert (found.counts, found.lost, found.first) == ({"b": 2, "a": 2, "c": 1}, 0, "a")


@pytest.mark.parametrize("seed", range(5))
def test_counts_of_many_are_too_low_by_no_more_than_is_said(seed: int):
    draw = random.Random(seed)
    texts = [f"{int(draw.paretovariate(0.7))}" for _ in range(20_000)] + ["often"] * 3000
    draw.shuffle(texts)
    found, true = counted(texts, room=50), Counter(texts)
    assert len(true) > 500
    assert len(found.counts) <= 100
    assert 0 < found.lost <= len(texts) / 50
    for text, count in true.items():
        assert found.counts.get(text, 0) <= count <= found.counts.get(text, 0) + found.lost
    assert found.first == true.most_common(1)[0][0]


def test_of_texts_that_all_differ_the_first_in_the_alphabet_is_left():
    texts = [f"{n:05}" for n in range(10_000)]
    random.Random(0).shuffle(texts)
    assert counted(texts, room=20).first == "00000"


def test_shrinking_keeps_the_most_frequent():
    found = counted(["a"] * 5 + ["b"] * 3 + ["c"], room=10)
    found.shrink(1)
    assert (found.counts, found.lost) == ({"a": 2}, 3)
