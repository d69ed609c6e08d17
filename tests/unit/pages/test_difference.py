"""Where an image differs from its source is coloured, inside the boxes otherwise than outside, and counted."""

from __future__ import annotations

import numpy as np
import pytest

from sightweave.pages.difference import difference

SOURCE = np.full((10, 10, 3), 120, np.uint8)
INSIDE = np.zeros((10, 10), bool)
INSIDE[:5] = True


def test_changes_are_counted_on_either_side() -> None:
    picture = SOURCE.copy()
    picture[0, :5] = 0
    picture[9, 9, 1] = 121  # a change that nobody would see
    found = difference(SOURCE, picture, INSIDE)
    assert found is not None
    assert (found.inside, found.outside) == (0.1, 0.02)

    unchanged, inside, outside = found.pixels[5, 5], found.pixels[0, 0], found.pixels[9, 9]
    assert len(set(unchanged.tolist())) == 1
    assert inside[2] > inside[0] + 40  # blue
    assert outside[0] > outside[2] + 40  # red


def test_equal_images_have_no_colour() -> None:
    found = difference(SOURCE, SOURCE, np.zeros((10, 10), bool))
    assert found is not None
    assert np.isnan(found.inside)
    assert found.outside == 0
    assert np.ptp(found.pixels) == 0


@pytest.mark.parametrize("shape", [(10, 9, 3), (5, 20, 3)])
def test_images_of_another_size_are_not_compared(shape: tuple[int, ...]) -> None:
    assert difference(SOURCE, np.zeros(shape, np.uint8), INSIDE) is None
