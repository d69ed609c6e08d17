"""Keys and values with a length per row: written behind each row's own, selected, grown."""

from __future__ import annotations

import pytest
import torch

from sightweave.core.cache import Cache, Groups, Shared


def numbered(rows: int, length: int, first: int = 0) -> torch.Tensor:
    """B 1 S 1 with another number everywhere."""
    return (torch.arange(rows * length).view(rows, 1, length, 1) + first).float()


def test_rows_of_one_length_grow_together() -> None:
    cache = Cache(2)
    keys, values = cache.extend(0, numbered(2, 3), -numbered(2, 3))
    assert keys.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert values.flatten().tolist() == [0, -1, -2, -3, -4, -5]
    cache.advance(torch.ones(2, 3, dtype=torch.bool))
    keys, _ = cache.extend(0, numbered(2, 1, 100), numbered(2, 1, 100))
    assert keys[:, 0, :, 0].tolist() == [[0, 1, 2, 100], [3, 4, 5, 101]]
    assert cache.uniform
    assert cache.longest == 3


@pytest.mark.parametrize("capacity", [0, 2, 50])
def test_padding_is_written_over(capacity: int) -> None:
    cache = Cache(2, capacity=capacity)
    cache.extend(0, numbered(2, 3), numbered(2, 3))
    cache.advance(torch.tensor([[True, True, True], [True, False, False]]))
    assert cache.lengths.tolist() == [3, 1]
    assert not cache.uniform
    for step in range(3):
        keys, _ = cache.extend(0, numbered(2, 1, 100 + 10 * step), numbered(2, 1, 0))
        cache.advance(torch.ones(2, 1, dtype=torch.bool))
    assert keys[0, 0, :, 0].tolist() == [0, 1, 2, 100, 110, 120]
    assert keys[1, 0, :4, 0].tolist() == [3, 101, 111, 121]
    assert cache.lengths.tolist() == [6, 4]


def test_layers_are_kept_apart() -> None:
    cache = Cache(1)
    cache.extend(0, numbered(1, 2), numbered(1, 2))
    keys, _ = cache.extend(1, numbered(1, 2, 50), numbered(1, 2))
    assert keys.flatten().tolist() == [50, 51]


def test_selected_rows_continue_alone() -> None:
    cache = Cache(3)
    cache.extend(0, numbered(3, 2), numbered(3, 2))
    cache.slots["memory"] = (torch.tensor([10, 11, 12]),)
    cache.advance(torch.tensor([[True, True], [True, False], [True, True]]))
    chosen = cache.select(torch.tensor([2, 1, 1, 0]))
    assert chosen.rows == 4
    assert chosen.lengths.tolist() == [2, 1, 1, 2]
    assert chosen.slots["memory"][0].tolist() == [12, 11, 11, 10]
    keys, _ = chosen.extend(0, numbered(4, 1, 100), numbered(4, 1))
    assert keys[0, 0, :, 0].tolist() == [4, 5, 100]
    assert keys[1, 0, :2, 0].tolist() == [2, 101]
    assert keys[2, 0, :2, 0].tolist() == [2, 102]
    old, _ = cache.extend(0, numbered(3, 1, 7), numbered(3, 1))
    assert old[1, 0, :2, 0].tolist() == [2, 8]
    assert cache.select(torch.tensor([1])).uniform


def test_rows_that_are_kept_in_place_go_on_like_selected_ones() -> None:
    rows = torch.tensor([0, 4, 2])
    caches = []
    for _ in range(2):
        cache = Cache(5, capacity=4)
        cache.extend(0, numbered(5, 2), -numbered(5, 2))
        cache.slots["memory"] = (torch.arange(5),)
        cache.advance(torch.tensor([[True, True]] * 2 + [[True, False]] * 3))
        caches.append(cache)
    selected, kept = caches[0].select(rows), caches[1]
    kept.keep(rows)
    assert kept.rows == 3
    assert kept.lengths.tolist() == selected.lengths.tolist() == [2, 1, 1]
    assert kept.slots["memory"][0].tolist() == [0, 4, 2]
    for mine, expected in zip(
        kept.extend(0, numbered(3, 1, 50), numbered(3, 1)),
        selected.extend(0, numbered(3, 1, 50), numbered(3, 1)),
        strict=True,
    ):
        assert torch.equal(mine, expected)


def test_no_rows_may_be_selected() -> None:
    cache = Cache(2)
    cache.extend(0, numbered(2, 2), numbered(2, 2))
    cache.advance(torch.ones(2, 2, dtype=torch.bool))
    assert cache.select(torch.zeros(0, dtype=torch.int64)).rows == 0


def test_tokens_placed_without_padding_are_continued_at_one_slot() -> None:
    cache = Cache(2, capacity=5)
    row, slot = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 0])
    new = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, 1, 1)
    keys, values = cache.place(0, row, slot, new, -new)
    assert keys[:, 0, :, 0].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert torch.equal(values, -keys)
    cache.begin(torch.tensor([3, 1]))
    assert cache.uniform
    assert cache.padding is not None
    assert cache.padding.tolist() == [[False, False, False], [False, True, True]]
    keys, _ = cache.extend(0, numbered(2, 1, 10), numbered(2, 1))
    assert keys[:, 0, :, 0].tolist() == [[1, 2, 3, 10], [4, 0, 0, 11]]
    chosen = cache.select(torch.tensor([1]))
    assert chosen.padding is not None
    assert chosen.padding.tolist() == [[False, True, True]]


@pytest.mark.parametrize("group", [[0], [2, 0, 2, 2, 1], [1, 1, 1], list(range(3)) * 4], ids=str)
def test_products_by_group_are_those_of_each_row(group: list[int]) -> None:
    torch.manual_seed(0)
    rows, heads = len(group), 2
    keys, queries = torch.randn(3, heads, 5, 4), torch.randn(rows * heads, 3, 4)
    groups = Groups(torch.tensor(group), 3, heads)
    scores = groups.scores(queries, keys)
    expected = queries.view(rows, heads, 3, 4) @ keys[group].mT
    torch.testing.assert_close(scores, expected.flatten(0, 1))
    values = groups.values(scores, keys)
    torch.testing.assert_close(values, (expected @ keys[group]).flatten(0, 1))


def test_what_no_row_shares_any_more_is_dropped() -> None:
    cache = Cache(4)
    cache.extend(0, numbered(4, 2), numbered(4, 2))
    cache.advance(torch.ones(4, 2, dtype=torch.bool))
    shared = Shared.of(cache, torch.tensor([0, 1, 2, 3, 3]))
    most = shared.select(torch.tensor([0, 1, 2, 3]))
    assert most.keys[0] is shared.keys[0]
    few = shared.select(torch.tensor([4, 1, 3]))
    assert few.keys[0][:, 0, :, 0].tolist() == [[2, 3], [6, 7]]
    assert few.group.tolist() == [1, 0, 1]
