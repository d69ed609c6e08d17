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
