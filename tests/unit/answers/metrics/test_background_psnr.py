"""Background PSNR: only pixels outside the boxes count."""

import numpy as np
import pytest

from sightweave.answers.metrics import background_psnr
from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion
from sightweave.core.types import Medium, Part, Sample

SOURCE = np.full((40, 80, 3), 100, np.uint8)


def sample(reference: str = "[250 250 500 500] a") -> Sample:
    image = Medium(SOURCE, "source")
    return Sample(id="s", task="image_translation", parts=(Part("user", image),), references=(reference,))


def score(pixels: np.ndarray | None) -> float:
    metric = background_psnr.Config().build()
    return float(metric.total(metric.rows([pixels], [sample()]).sum(0)))


def test_changes_inside_the_box_are_free() -> None:
    pixels = SOURCE.copy()
    pixels[10:20, 20:40] = 0
    assert score(pixels) == 100


def test_the_ratio_outside_is_that_of_the_formula() -> None:
    pixels = SOURCE.copy()
    pixels[:] = 110
    assert score(pixels) == pytest.approx(10 * np.log10(255**2 / 100))
    pixels[0, 0] = 255
    assert score(pixels) < 10 * np.log10(255**2 / 100)


def test_a_missing_image_counts_as_black() -> None:
    metric = background_psnr.BackgroundPsnr()
    rows = metric.rows([None, SOURCE], [sample(), sample()])
    assert metric.total(rows[0]) == pytest.approx(10 * np.log10(255**2 / 100**2))
    assert metric.total(rows[1]) == 100


def test_a_turned_box_has_turned_edges() -> None:
    region = TextRegion("a", (0.25, 0.4, 0.75, 0.6), angle=90)
    inside = background_psnr.inside_boxes([region], (80, 80))
    assert inside[21:59, 33:47].all()
    assert not inside[:18].any()
    assert not inside[:, :29].any()


def test_another_size_is_an_error() -> None:
    with pytest.raises(DataError, match=r"has 8 x 4 pixels, but its source has 80 x 40"):
        score(np.zeros((4, 8, 3), np.uint8))
    with pytest.raises(DataError, match="has no image to compare with"):
        background_psnr.BackgroundPsnr().rows([SOURCE], [sample().without_media()])
