"""Numbers that must be the same on every machine."""

from sightweave.data.scenes.random import Random

FIRST = [694, 877, 138]
OCTETS = [221, 105, 222, 89, 82]
BELOW = [5, 2, 6, 2, 8, 5, 1, 3]


def test_first_numbers_never_change():
    assert [
        Random(0, 0, 0, 0).below(1000),
        Random(7, 1, 3, 0).below(1000),
        Random(7, 1, 3, 1).below(1000),
    ] == FIRST
    random = Random(5, 2, 9, 1)
    assert list(random.octets(5)) == OCTETS
    assert [random.below(10) for _ in range(8)] == BELOW


def test_all_numbers_are_equally_likely():
    random = Random(1, 0, 0, 0)
    counts = [0] * 6
    for _ in range(6000):
        counts[random.below(6)] += 1
    assert min(counts) > 850
    assert max(counts) < 1150


def test_orders_hold_every_item_once():
    random = Random(1, 0, 0, 0)
    assert sorted(random.shuffled("abcdef")) == list("abcdef")
    assert sorted(random.drawn("abcdef")) == list("abcdef")
    assert {random.drawn("ab").__next__() for _ in range(50)} == {"a", "b"}


def test_weights():
    random = Random(2, 0, 0, 0)
    drawn = [random.weighted("ab", (1, 3)) for _ in range(4000)]
    assert 2850 < drawn.count("b") < 3150
    assert {random.between(-2, 2) for _ in range(200)} == {-2, -1, 0, 1, 2}
