"""Areas: which pixels belong to a region, upright, rotated and between four corners."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion
from sightweave.rendering.areas import area_of, corners_of


@pytest.mark.parametrize("size", [(47, 31), (640, 427), (1000, 3)])
def test_an_upright_box_of_whole_pixels_is_exactly_these(size: tuple[int, int]) -> None:
    height = size[1]
    region = TextRegion.of_pixels("a", (12, 1, 40, height - 1), size)
    area = area_of(region, size)
    assert area.box == (12, 1, 40, height - 1)
    assert area.mask.all()
    assert area.upright_size == (28, height - 2)


def test_a_box_within_one_pixel_is_that_pixel() -> None:
    assert area_of(TextRegion("a", (0.999, 0.999, 1.0, 1.0)), (20, 10)).box == (19, 9, 20, 10)
    assert area_of(TextRegion("a", (0.5, 0.5, 0.5 + 1e-9, 0.5 + 1e-9)), (20, 10)).box == (10, 5, 11, 6)


def test_a_positive_angle_turns_counterclockwise() -> None:
    corners = corners_of(TextRegion("a", (0.25, 0.4, 0.75, 0.6), angle=90), (100, 100))
    assert np.allclose(corners, [(40, 75), (40, 25), (60, 25), (60, 75)])


@pytest.mark.parametrize("angle", [5, -33, 90, 171])
def test_a_rotated_area_covers_its_polygon_and_little_more(angle: float) -> None:
    size = (200, 160)
    region = TextRegion("a", (0.3, 0.4, 0.7, 0.6), angle=angle)
    area = area_of(region, size)
    left, top, right, bottom = area.box
    mask = np.zeros((160, 200), bool)
    mask[top:bottom, left:right] = area.mask

    # Judge by a polygon drawn by Pillow at eight times the size.
    large = Image.new("L", (1600, 1280))
    ImageDraw.Draw(large).polygon([(x * 8, y * 8) for x, y in corners_of(region, size)], fill=255)
    share = np.asarray(large, float).reshape(160, 8, 200, 8).mean((1, 3)) / 255
    assert mask[share > 0.6].all()
    grown = np.pad(share > 0, 1)
    near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:] | grown[1:-1, 1:-1]
    assert not mask[~near].any()


def test_the_projection_puts_the_text_between_its_corners() -> None:
    region = TextRegion.of_corners("a", [(0.2, 0.2), (0.8, 0.1), (0.9, 0.7), (0.1, 0.9)])
    area = area_of(region, (100, 100))
    upright = Image.new("L", area.upright_size)
    width, height = area.upright_size
    upright.paste(255, (0, 0, width // 2, height // 2))  # the top left quarter
    coverage = np.zeros((100, 100), np.uint8)
    left, top, right, bottom = area.box
    coverage[top:bottom, left:right] = area.project(upright)
    assert coverage[25, 27] == 255
    assert coverage[20, 75] == coverage[80, 20] == coverage[60, 80] == 0


def test_a_rotated_box_outside_the_image_is_an_error() -> None:
    with pytest.raises(
        DataError, match=r"'long'.*rotated by 90 degrees.*outside the image of 300 x 100 pixels"
    ):
        area_of(TextRegion("long", (0.1, 0.4, 0.9, 0.6), angle=90), (300, 100))
    # Thousandths may miss the edge by a pixel.
    area = area_of(TextRegion("a", (0.0, 0.0, 1.0, 1.0), angle=0.1), (300, 100))
    assert area.box == (0, 0, 300, 100)
