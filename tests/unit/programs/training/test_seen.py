"""Different pictures are counted alike in small and in huge data."""

from __future__ import annotations

import random

import pytest

from sightweave.programs.training.seen import Seen


@pytest.mark.parametrize("size", [1, 9, 1000, 10**15])
def test_each_number_counts_once(size: int) -> None:
    draw = random.Random(0)
    numbers = [draw.randrange(size) for _ in range(500)] + [0, size - 1]
    seen = Seen(size)
    for count, number in enumerate(numbers, start=1):
        seen.add(number)
        assert seen.count == len(set(numbers[:count]))


@pytest.mark.parametrize("size", [1, 9, 1000, 10**15])
def test_counting_goes_on_from_a_tensor(size: int) -> None:
    seen = Seen(size)
    for number in (0, size - 1, size // 2):
        seen.add(number)
    again = Seen.of(seen.to_tensor())
    assert again.count == seen.count
    for number in (0, size // 3):
        seen.add(number)
        again.add(number)
    assert again.count == seen.count
    assert again.to_tensor().equal(seen.to_tensor())
