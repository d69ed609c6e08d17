"""Draws a seeded random sample of images from one or several datasets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from sightweave.data.inputs import order
from sightweave.data.reading.dataset import Dataset
from sightweave.data.reading.table import Table


def draw(datasets: Sequence[Dataset], count: int, *, seed: int = 0) -> list[tuple[int, int]]:
    """Samples `count` images uniformly from all datasets together, or returns all if there are no more.

    Args:
        datasets: The datasets.
        count: Maximum number of images.
        seed: Random seed.

    Returns:
        The sampled images in dataset order, each as (index of the dataset, index of the image in it).
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
    """Indices of all images of a dataset read from rows, or of `most` sampled images if the dataset is generated."""
    return range(len(dataset)) if isinstance(dataset, Table) else order.drawn(seed, len(dataset), most)
