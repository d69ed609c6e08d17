"""An order without a list: every picture once an epoch, another order for every epoch and seed."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest

from sightweave.data.inputs.order import positions, shuffled


@pytest.mark.parametrize(
    "size", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 64, 65, 100, 255, 256, 257, 1000, 4097]
)
def test_every_picture_comes_once_an_epoch(size: int) -> None:
    for seed, epoch in ((0, 0), (0, 1), (123456789, 7)):
        assert sorted(shuffled(seed, epoch, at, size) for at in range(size)) == list(range(size))


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(shuffled(seed, epoch, at, 50) for at in range(50))
        for seed in (0, 1, 2**63, -1)
        for epoch in (0, 1, 2)
    }
    assert len(orders) == 12
    assert tuple(range(50)) not in orders


def test_a_huge_world_has_an_order_too() -> None:
    size = 1 << 40
    found = [shuffled(3, 0, at, size) for at in range(200)]
    assert len(set(found)) == 200
    assert all(0 <= one < size for one in found)
    assert max(found) > size // 2


def test_neighbours_do_not_stay_together() -> None:
    order = [shuffled(0, 0, at, 1000) for at in range(1000)]
    assert sum(abs(a - b) == 1 for a, b in pairwise(order)) < 20


def test_every_place_gets_every_picture_over_the_epochs() -> None:
    counts = [0] * 5
    for epoch in range(1000):
        counts[shuffled(0, epoch, 2, 5)] += 1
    assert all(140 < count < 260 for count in counts)


def test_the_endless_run_goes_over_epochs_and_starts_anywhere() -> None:
    whole = list(islice(positions(4, 7), 21))
    assert all(sorted(whole[i : i + 7]) == list(range(7)) for i in (0, 7, 14))
    assert list(islice(positions(4, 7, start=5), 16)) == whole[5:]
