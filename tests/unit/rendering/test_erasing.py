"""Colours spread inward: smooth surfaces are continued, nothing of the old content is left, known pixels are exact."""

from __future__ import annotations

import numpy as np
import pytest

from sightweave.rendering.erasing import spread_inward


def surface(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([20 + 2 * x, 200 - y, 50 + x + y], axis=2)


@pytest.mark.parametrize(("height", "width"), [(30, 80), (81, 33), (7, 7), (64, 64)])
def test_a_linear_surface_is_continued(height: int, width: int) -> None:
    values = surface(height, width)
    is_known = np.ones((height, width), bool)
    is_known[2:-2, 2:-2] = False
    spoilt = np.where(is_known[:, :, None], values, 999)
    filled = spread_inward(spoilt, is_known)
    assert np.array_equal(filled[is_known], values[is_known])
    # The steepest of the surfaces covers 2 values per pixel.
    assert np.abs(filled - values).max() < 6


def test_a_plain_ground_is_filled_exactly_from_one_side() -> None:
    values = np.full((40, 60, 1), 7, np.float32)
    is_known = np.zeros((40, 60), bool)
    is_known[:, 0] = True
    values[~is_known] = 250
    assert np.array_equal(spread_inward(values, is_known), np.full((40, 60, 1), 7, np.float32))


def test_values_stay_between_those_around() -> None:
    rng = np.random.default_rng(3)
    values = rng.uniform(10, 20, (50, 70, 4)).astype(np.float32)
    is_known = rng.random((50, 70)) < 0.2
    values[~is_known] = 1e6
    filled = spread_inward(values, is_known)
    assert filled.min() >= 10 - 1e-4
    assert filled.max() <= 20 + 1e-4


def test_without_known_pixels_nothing_changes() -> None:
    values = surface(5, 6)
    assert np.array_equal(spread_inward(values, np.zeros((5, 6), bool)), values)
    assert np.array_equal(spread_inward(values, np.ones((5, 6), bool)), values)
