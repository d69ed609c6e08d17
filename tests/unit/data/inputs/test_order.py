"""An order without a list: every picture once an epoch, another order for every epoch and seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import pytest

from sightweave.core.errors import DataError, RecipeError
from sightweave.data.inputs.order import Mix, Mixing, drawn, positions, shuffled


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


def seen(mix: Mix, epochs: int) -> Counter[tuple[int, int]]:
    return Counter(mix.at(position) for position in range(epochs * mix.total))


def test_sources_once_an_epoch_are_one_sequence() -> None:
    alone = Mix([30], seed=3)
    assert [alone.at(p)[1] for p in range(90)] == [shuffled(3, p // 30, p % 30, 30) for p in range(90)]
    mix = Mix([20, 0, 10], seed=3)
    starts = (0, 20, 20)
    assert [starts[s] + i for s, i in map(mix.at, range(90))] == [alone.at(p)[1] for p in range(90)]


@pytest.mark.parametrize(
    ("mixing", "quotas"),
    [
        ([Mixing(epochs=2), Mixing(epochs=0.5)], (20, 20)),
        ([Mixing(epochs=0.25), Mixing()], (2, 40)),
        ([Mixing(weight=3), Mixing(weight=1)], (38, 12)),
        ([Mixing(epochs=0.001), Mixing(epochs=1.5)], (1, 60)),
    ],
)
def test_a_mix_keeps_its_quotas_and_treats_pictures_alike(
    mixing: list[Mixing], quotas: tuple[int, int]
) -> None:
    mix = Mix([10, 40], mixing, seed=1)
    assert mix.quotas == quotas
    for epochs in (1, 2, 5):
        counts = seen(mix, epochs)
        for source, length in enumerate((10, 40)):
            each = [counts[source, index] for index in range(length)]
            assert sum(each) == epochs * quotas[source]
            assert max(each) - min(each) <= 1


def test_a_mix_of_endless_worlds_takes_no_memory() -> None:
    mix = Mix([10**12, 10**6], [Mixing(weight=1), Mixing(weight=1)], seed=2)
    found = [mix.at(position * 10**9)[0] for position in range(400)]
    assert 140 < sum(found) < 260


@pytest.mark.parametrize(
    ("lengths", "mixing", "error", "words"),
    [
        ([5, 5], [Mixing(weight=1), Mixing()], RecipeError, "source 2 has no weight, but 1 of 2"),
        ([5, 5], [Mixing()], RecipeError, "1 mixing rules for 2 sources"),
        ([5], [Mixing(epochs=0)], RecipeError, r"source 1: epochs must be above 0 \(got 0\)"),
        ([5], [Mixing(weight=float("nan"))], RecipeError, r"weight must be above 0 \(got nan\)"),
        (
            [5, 0],
            [Mixing(weight=1), Mixing(weight=2)],
            DataError,
            "source 2 has weight 2 but no images",
        ),
        ([0, 0], [], DataError, "the data has no images"),
    ],
)
def test_a_mix_that_cannot_be_says_why(
    lengths: list[int], mixing: list[Mixing], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Mix(lengths, mixing)


def test_a_draw_is_spread_over_the_whole_and_grows() -> None:
    few, more = drawn(0, 100_000, 300), drawn(0, 100_000, 900)
    assert few == sorted(set(few))
    assert len(few) == 300
    assert set(few) < set(more)
    assert few != drawn(1, 100_000, 300)
    thirds = [sum(number // 33_334 == third for number in more) for third in range(3)]
    assert all(250 <= count <= 350 for count in thirds)
    assert set(few) != {shuffled(0, 0, position, 100_000) for position in range(300)}  # not what trains first
    assert drawn(5, 4, 4) == drawn(5, 4, 9) == [0, 1, 2, 3]
    assert drawn(0, 0, 3) == []


def test_every_picture_is_drawn_equally_often() -> None:
    counts = Counter(number for seed in range(2000) for number in drawn(seed, 10, 3))
    assert all(500 <= counts[number] <= 700 for number in range(10))
