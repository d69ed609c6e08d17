"""Connectors that cannot fit say so when they are built, and counts are those that are written."""

from __future__ import annotations

import pytest
import torch

from sightweave.core.batch import Features
from sightweave.models.connectors import linear, mlp, pixel_shuffle, pool, resampler


@pytest.mark.parametrize(("grid", "factor"), [((1, 6, 4), 4), ((1, 5, 5), 2), ((1, 4, 6), 4)])
def test_a_factor_that_does_not_divide_is_refused(grid: tuple[int, int, int], factor: int) -> None:
    words = f"pixel_shuffle factor {factor} does not divide the grid {grid[1]} x {grid[2]}"
    with pytest.raises(ValueError, match=words):
        pixel_shuffle.Config(factor=factor).build(in_dim=4, out_dim=8, grid=grid)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (pixel_shuffle.Config(factor=0), "factor must be 1 or more \\(got 0\\)"),
        (pool.Config(side=0), "side must be 1 or more \\(got 0\\)"),
        (pool.Config(side=5), "pool side 5 is larger than the grid 4 x 4"),
        (resampler.Config(num_queries=0), "num_queries must be 1 or more \\(got 0\\)"),
        (resampler.Config(num_heads=3), "num_heads 3 does not divide the width 8"),
    ],
)
def test_impossible_sizes_are_refused(config: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config.build(in_dim=4, out_dim=8, grid=(1, 4, 4))


@pytest.mark.parametrize(
    ("config", "grid", "count", "places"),
    [
        (linear.Config(), (1, 3, 5), 15, (1, 3, 5)),
        (mlp.Config(), (2, 3, 5), 30, (2, 3, 5)),
        (pixel_shuffle.Config(factor=3), (2, 6, 9), 12, (2, 2, 3)),
        (pool.Config(side=2), (3, 5, 7), 12, (3, 2, 2)),
        (resampler.Config(num_queries=7, num_heads=2), (3, 5, 7), 7, None),
    ],
)
def test_counts_and_places(config: object, grid: tuple[int, int, int], count: int, places: object) -> None:
    made = config.build(in_dim=4, out_dim=8, grid=grid)
    assert made.num_tokens(grid) == count
    assert made.out_grid(grid) == places


def test_the_pool_averages_its_cells() -> None:
    made = pool.Config(side=2).build(in_dim=1, out_dim=1, grid=(1, 4, 4))
    made.projection.weight.data.fill_(1)
    values = torch.arange(16.0).view(1, 16, 1)
    assert made(Features(values, (1, 4, 4))).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_pixel_shuffle_joins_a_square() -> None:
    made = pixel_shuffle.Config(factor=2).build(in_dim=1, out_dim=4, grid=(1, 4, 4))
    made.projection.weight.data.copy_(torch.eye(4))
    values = torch.arange(16.0).view(1, 16, 1)
    assert made(Features(values, (1, 4, 4)))[0].tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]
