"""Rows of lengths: nothing lost, nothing too long, as full as can be, and always the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightweave.data.inputs.packing import best_fit, fewest_rows, minimum_slack

METHODS: dict[str, Callable[[list[int], int], list[list[int]]]] = {
    "best fit": best_fit,
    "longest": minimum_slack,
    "shortest": partial(minimum_slack, first="shortest"),
    "fewest": fewest_rows,
}
LENGTHS = st.lists(st.integers(1, 70), max_size=60)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, capacity=st.integers(1, 60))
def test_every_item_is_in_one_row_that_has_room(
    method: Callable[[list[int], int], list[list[int]]], lengths: list[int], capacity: int
) -> None:
    rows = method(lengths, capacity)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(len(row) == 1 or sum(lengths[i] for i in row) <= capacity for row in rows)
    assert rows == method(lengths, capacity)


def plain_best_fit(lengths: list[int], capacity: int) -> list[list[int]]:
    """The same rule, by looking at every row."""
    rows: list[list[int]] = []
    room: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fitting = [(space, index) for index, space in enumerate(room) if space >= lengths[number]]
        if fitting:
            space, index = min(fitting)
            rows[index].append(number)
            room[index] = space - lengths[number]
        else:
            rows.append([number])
            room.append(max(0, capacity - lengths[number]))
    return rows


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.integers(1, 60))
def test_packing_by_buckets_finds_what_a_search_of_all_rows_finds(lengths: list[int], capacity: int) -> None:
    assert best_fit(lengths, capacity) == plain_best_fit(lengths, capacity)


def fullest(lengths: list[int], room: int) -> int:
    """The largest sum of some of them that is no more than `room`, by looking at all sums."""
    sums = {0}
    for length in lengths:
        sums |= {total + length for total in sums if total + length <= room}
    return max(sums)


@pytest.mark.parametrize("first", ["longest", "shortest"])
@settings(max_examples=100, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=40), capacity=st.integers(40, 90))
def test_each_row_in_turn_is_as_full_as_what_is_left_allows(
    first: str, lengths: list[int], capacity: int
) -> None:
    left = list(lengths)
    for row in minimum_slack(lengths, capacity, first=first):
        taken = [lengths[number] for number in row]
        begin = max(left) if first == "longest" else min(left)
        assert taken[0] == begin
        left.remove(begin)
        assert sum(taken[1:]) == fullest(left, capacity - begin)
        for length in taken[1:]:
            left.remove(length)


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.integers(1, 60))
def test_no_method_has_fewer_rows_than_the_best_of_them(lengths: list[int], capacity: int) -> None:
    rows = fewest_rows(lengths, capacity)
    counts = [len(method(lengths, capacity)) for method in METHODS.values()]
    assert len(rows) == min(counts)
    if len(rows) == counts[0]:
        assert rows == best_fit(lengths, capacity)


def test_lengths_that_are_all_alike_fill_rows() -> None:
    """As the bundles of the embedded world: some 208 tokens, so four to six fit into 1,024."""
    rng = random.Random(0)
    lengths = [min(278, max(147, round(rng.gauss(208, 20)))) for _ in range(256)]
    filled = [sum(lengths) / (1024 * len(method(lengths, 1024))) for method in (best_fit, fewest_rows)]
    assert filled[0] < 0.95
    assert filled[1] > 0.97


def test_very_different_lengths_and_one_too_long_still_fill_rows() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(1, 3000) for _ in range(600)] + [5000]
    rows = fewest_rows(lengths, 4096)
    assert [600] in rows
    assert sum(lengths[:-1]) / (4096 * (len(rows) - 1)) > 0.98
