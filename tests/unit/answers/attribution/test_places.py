"""Places of media: which values belong to which cell, and which features to which embedding."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sightweave.answers.attribution.places import cell_of_values, map_shape, spread, sum_by_cell
from sightweave.core.batch import Features
from sightweave.models.connectors.pixel_shuffle import PixelShuffle


def test_images_are_divided_evenly() -> None:
    assert cell_of_values((4, 4), (2, 2)).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    counts = cell_of_values((7, 5), (3, 2)).flatten().bincount()
    assert len(counts) == 6
    assert counts.min() >= 4


def test_a_stride_leaves_the_rest_to_the_last_place() -> None:
    assert cell_of_values((9,), (3,), (4,)).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("axes", "grid", "shape"), [(1, (5, 1, 1), (5,)), (2, (1, 3, 4), (3, 4)), (3, (2, 3, 4), (2, 3, 4))]
)
def test_the_map_has_the_axes_of_the_medium(
    axes: int, grid: tuple[int, int, int], shape: tuple[int, ...]
) -> None:
    assert map_shape(grid, axes) == shape


def test_the_values_of_a_cell_are_summed_over_channels() -> None:
    values = torch.arange(2 * 4 * 4.0).view(2, 4, 4)
    found = sum_by_cell(values, cell_of_values((4, 4), (2, 2)), 4)
    expected = 4 * F.avg_pool2d(values, 2).sum(0).flatten()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("side", "out"), [(4, 2), (5, 2), (5, 3), (6, 6), (7, 1)])
def test_the_spread_of_pooling_is_that_of_adaptive_pooling(side: int, out: int) -> None:
    features = torch.randn(side * side, 3)
    pooled = F.adaptive_avg_pool2d(features.T.view(1, 3, side, side), out).view(3, -1).T
    torch.testing.assert_close(spread((1, side, side), (1, out, out)) @ features, pooled)


def test_the_spread_of_pixel_shuffle_is_on_the_features_that_an_embedding_reads() -> None:
    torch.manual_seed(0)
    connector = PixelShuffle(in_dim=3, out_dim=5)
    values = torch.randn(1, 24, 3, requires_grad=True)
    out = connector(Features(values, (1, 4, 6)))
    shares = spread((1, 4, 6), connector.out_grid((1, 4, 6)))
    for index in range(out.shape[1]):
        (slope,) = torch.autograd.grad(out[0, index].sum(), values, retain_graph=True)
        assert torch.equal(slope[0].abs().sum(1) > 0, shares[index] > 0)
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
