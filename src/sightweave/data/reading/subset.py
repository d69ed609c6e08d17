"""Samples images from datasets as a whole by seed, instead of taking the first ones."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from sightweave.data.inputs import order
from sightweave.data.reading.dataset import Dataset
from sightweave.data.reading.table import Table


def draw(datasets: Sequence[Dataset], count: int, *, seed: int = 0) -> list[tuple[int, int]]:
    """Samples `count` images of all datasets together, each equally likely, as (number of the dataset, index in it).

    They are in the order of the data. If there are no more than `count`, all of them are returned.
    """
    ends = list(accumulate(len(one) for one in datasets))
    total = ends[-1] if ends else 0

    found = []
    for number in order.drawn(seed, total, count):
        dataset = bisect_right(ends, number)
        start = ends[dataset] - len(datasets[dataset])
        found.append((dataset, number - start))
    return found


def all_or_drawn(dataset: Dataset, most: int, *, seed: int = 0) -> Sequence[int]:
    """All images of a dataset that was read from rows; `most` sampled ones if each image is generated on access."""
    return range(len(dataset)) if isinstance(dataset, Table) else order.drawn(seed, len(dataset), most)
