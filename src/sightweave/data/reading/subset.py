"""Which pictures stand for all of several data sets: drawn over the whole by seed, never the first ones."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from sightweave.data.inputs import order
from sightweave.data.reading.dataset import Dataset
from sightweave.data.reading.table import Table


def draw(datasets: Sequence[Dataset], count: int, *, seed: int = 0) -> list[tuple[int, int]]:
    """`count` pictures of all data sets together, each equally likely, as (number of the data set, number in it).

    They come in the order of the data. All of them come where there are no more than `count`.
    """
    ends = list(accumulate(len(one) for one in datasets))
    found = []
    for number in order.drawn(seed, ends[-1] if ends else 0, count):
        dataset = bisect_right(ends, number)
        found.append((dataset, number - (ends[dataset] - len(datasets[dataset]))))
    return found


def all_or_drawn(dataset: Dataset, most: int, *, seed: int = 0) -> Sequence[int]:
    """All pictures of a data set whose rows were read; of one that makes each picture when asked, `most` drawn ones."""
    return range(len(dataset)) if isinstance(dataset, Table) else order.drawn(seed, len(dataset), most)
