"""Regions are cut out straight, and set back without changing any other pixel."""

import numpy as np
import pytest
from PIL import Image

from sightweave.core.errors import DataError, MediaError
from sightweave.core.text_regions import TextRegion
from sightweave.rendering.areas import area_of
from sightweave.rendering.canvas import MODES
from sightweave.rendering.patches import cut_out, set_in

SIDE = 96


def picture(width: int = 80, height: int = 60) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def region(**fields: object) -> TextRegion:
    return TextRegion(**{"text": "", "box": (0.2, 0.3, 0.7, 0.8), **fields})  # type: ignore[arg-type]  # any field


def test_an_upright_region_is_stretched_to_a_square() -> None:
    image = Image.new("RGB", (80, 60), "white")
    image.paste("red", (16, 18, 56, 48))
    found = np.asarray(cut_out(image, region(), SIDE))
    assert found.shape == (SIDE, SIDE, 3)
    assert (found == (255, 0, 0)).all()


@pytest.mark.parametrize("angle", [-30, 8, 90])
def test_a_turned_region_is_straightened(angle: int) -> None:
    """Its left half is red and its right half is blue, whatever its angle."""
    area = area_of(region(angle=angle), (400, 400))
    patch = Image.new("RGB", (SIDE, SIDE), "red")
    patch.paste("blue", (SIDE // 2, 0, SIDE, SIDE))
    made = set_in(Image.new("RGB", (400, 400), "white"), region(angle=angle), patch)
    found = np.asarray(cut_out(made, region(angle=angle), SIDE)).astype(int)
    inside = slice(4, -4)
    assert np.abs(found[inside, 4:44] - (255, 0, 0)).max() < 30
    assert np.abs(found[inside, 52:-4] - (0, 0, 255)).max() < 30
    assert area.corners is not None


@pytest.mark.parametrize("angle", [0, 12])
@pytest.mark.parametrize("mode", MODES)
def test_only_the_pixels_of_the_region_change(mode: str, angle: int) -> None:
    image = picture().convert("L").convert(mode) if mode.startswith("I;16") else picture().convert(mode)
    before = image.tobytes()
    made = set_in(image, region(angle=angle), Image.new("RGB", (SIDE, SIDE), "green"))
    assert image.tobytes() == before, "the given image is not changed"
    assert (made.mode, made.size) == (image.mode, image.size)

    area = area_of(region(angle=angle), image.size)
    outside = np.ones((60, 80), bool)
    left, top, right, bottom = area.box
    outside[top:bottom, left:right] = ~area.mask
    if mode == "1":
        old, new = np.asarray(image), np.asarray(made)
    else:
        old = np.frombuffer(before, np.uint8).reshape(60, 80, -1)
        new = np.frombuffer(made.tobytes(), np.uint8).reshape(60, 80, -1)
    assert (old[outside] == new[outside]).all()
    assert (old[~outside] != new[~outside]).any()


def test_what_is_cut_out_and_set_in_again_is_nearly_the_same() -> None:
    smooth = picture(8, 6).resize((80, 60), Image.Resampling.BICUBIC)
    for angle in (0, 15):
        again = set_in(smooth, region(angle=angle), cut_out(smooth, region(angle=angle), SIDE))
        assert np.abs(np.asarray(again).astype(int) - np.asarray(smooth)).mean() < 0.5


def test_bad_regions_and_modes_are_refused() -> None:
    beside = region(box=(0.0, 0.0, 1.0, 0.2), angle=45)
    with pytest.raises(DataError, match="reaches outside the image of 80 x 60"):
        cut_out(picture(), beside, SIDE)
    with pytest.raises(DataError, match="reaches outside the image of 80 x 60"):
        set_in(picture(), beside, picture())
    with pytest.raises(MediaError, match="words cannot be replaced in an image of mode 'F'"):
        set_in(picture().convert("F"), region(), picture())
