"""Rows on disk come back as they were, in any order, from any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sightweave.data.reading.row_store import Store


def test_rows_and_pictures_come_back() -> None:
    store = Store()
    rows = [{"n": number, "text": "\ud800 \u72d7" * (number % 7), "list": [1, None]} for number in range(500)]
    places = []
    for number, row in enumerate(rows):
        store.append(row)
        places.append(store.keep(bytes([number % 256]) * number))
    assert len(store) == 500
    assert [store[number] for number in (499, 0, 250)] == [rows[499], rows[0], rows[250]]
    assert all(store.read(*place) == bytes([n % 256]) * n for n, place in enumerate(places))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(store.__getitem__, range(500))) == rows


def test_the_digest_is_that_of_the_rows_in_their_order() -> None:
    one, two, other = Store(), Store(), Store()
    for store in (one, two):
        store.append({"a": 1})
        store.append({"b": 2})
    two.keep(b"a picture")  # is named by the row that brings it
    other.append({"b": 2})
    other.append({"a": 1})
    assert one.digest() == two.digest() != other.digest()
