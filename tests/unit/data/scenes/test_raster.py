"""Primitives in integers, against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sightweave.core.errors import DataError
from sightweave.data.scenes.raster import (
    PAD,
    SAMPLES,
    cosine,
    parse,
    rasterise,
    sine,
    texture,
    texture_of_bitmap,
)

PALETTE = {"red": (200, 0, 0), "blue": (0, 0, 200), "ink": (0, 0, 0)}
RED, BLUE, INK = 1, 2, 3


def raster(drawing: str) -> np.ndarray:
    return rasterise(drawing, PALETTE, "ink")


def units(samples: np.ndarray, value: int) -> float:
    """An area in square units; a sample is a quarter of a unit wide."""
    return float((samples == value).sum()) / 16


def test_the_sine_table_is_right_to_the_last_bit():
    for degrees in range(-400, 800):
        assert sine(degrees) == round(16384 * math.sin(math.radians(degrees)))
        assert cosine(degrees) == round(16384 * math.cos(math.radians(degrees)))


@pytest.mark.parametrize(
    ("drawing", "area"),
    [
        ("rect red 10,12 30,20", 160),
        ("poly red 0,0 60,0 0,60", 1800),
        ("oval red 32,32 20,10", 200 * math.pi),
        ("oval red 32,32 20,10 35", 200 * math.pi),
        ("line red 6 10,10 40,50", 6 * 50 + 9 * math.pi),
        ("arc red 4 32,32 20,20 0,360", 4 * 40 * math.pi),
        ("arc red 4 32,32 20,20 0,90", 4 * 10 * math.pi + 4 * math.pi),
        # A smooth curve pulled by a square's corners cuts them: 5/6 of the square is left.
        ("blob red 10,10 40,10 40,40 10,40", 900 * 5 / 6),
    ],
)
def test_areas_follow_geometry(drawing, area):
    assert units(raster(f"rim 0\n{drawing}"), RED) == pytest.approx(area, rel=0.01)


def test_a_smooth_stroke_begins_and_ends_at_its_points():
    samples = raster("rim 0\nbend red 2 10,50 32,0 54,50")
    rows, columns = np.nonzero(samples == RED)
    assert abs((columns.min() - PAD) / 4 - 9) < 0.5
    assert abs((columns.max() - PAD) / 4 - 55) < 0.5
    assert (rows.min() - PAD) / 4 == pytest.approx(24, abs=0.5)


def test_edges_are_shared_without_gap_or_overlap():
    left = raster("rim 0\npoly red 5,5 37,9 21,60") == RED
    right = raster("rim 0\npoly red 37,9 60,50 21,60") == RED
    both = raster("rim 0\npoly red 5,5 37,9 60,50 21,60") == RED
    assert not (left & right).any()
    assert np.array_equal(left | right, both)


def test_later_lines_cover_earlier_ones_and_the_rim_lies_below_all():
    samples = raster("rim 2\nrect red 10,10 40,40\nrect blue 30,30 50,50")
    assert units(samples, RED) == 900 - 100
    assert units(samples, BLUE) == 400
    # Two units along an outline of 160, a quarter of a disc at 6 outer corners, shared squares at 2 inner ones.
    assert units(samples, INK) == pytest.approx(2 * 160 + 6 * math.pi - 2 * 4, rel=0.01)
    assert samples[PAD + 4 * 9, PAD + 4 * 20] == INK


def test_bare_lines_get_no_rim_and_both_mirrors():
    samples = raster("both bare rect red 4,10 14,20")
    assert not (samples == INK).any()
    assert np.array_equal(samples, samples[:, ::-1])
    assert units(samples, RED) == 200


def test_the_rim_is_two_units_unless_said():
    assert parse("oval red 32,32 9,9")[0] == parse("rim 2\noval red 32,32 9,9")[0]
    assert parse("rim 0\noval red 32,32 9,9")[0] == 0


def test_unknown_primitives_and_colors_are_refused():
    with pytest.raises(DataError, match=r"unknown primitive 'ovel' in a drawing\. Did you mean 'oval'"):
        raster("ovel red 1,1 2,2")
    with pytest.raises(DataError, match=r"unknown colour 'rad' in a drawing\. Did you mean 'red'"):
        raster("oval rad 32,32 9,9")


def test_a_texture_averages_color_and_coverage():
    samples = np.zeros((SAMPLES, SAMPLES), np.uint8)
    samples[:, 100:] = RED
    colors = np.array([(0, 0, 0), (200, 100, 50)], np.uint8)
    found = texture(samples, colors, 5)
    assert tuple(found[70, 80]) == (200, 100, 50, 255)
    # Texel 49 is the mean of samples 97 to 101, of which two are inked.
    assert tuple(found[70, 49]) == (80, 40, 20, 102)
    assert not found[70, :48].any()
    assert not found[0].any()
    assert not found[:, -1].any()


def test_a_bitmap_becomes_the_same_texture_as_samples_do():
    samples = raster("rim 0\noval red 32,32 20,12\nrect blue 30,30 40,40")
    colors = np.array([(0, 0, 0), *PALETTE.values()], np.uint8)
    bitmap = np.zeros((256, 256, 4), np.uint8)
    inner = samples[PAD:-PAD, PAD:-PAD]
    bitmap[..., :3], bitmap[..., 3] = colors[inner], 255 * (inner > 0)
    assert np.array_equal(texture_of_bitmap(bitmap, 9), texture(samples, colors, 9))
