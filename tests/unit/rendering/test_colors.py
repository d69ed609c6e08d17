"""Ink and ground are estimated to within a few values from letters of known colours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sightweave.rendering.colors import dominant, readable
from sightweave.rendering.fonts import find, sized

FONT = sized(find("DejaVu Sans"), 24, complex_layout=False)


@pytest.mark.parametrize(
    ("ink", "ground"),
    [((255, 255, 255), (0, 48, 96)), ((10, 10, 10), (240, 230, 40)), ((200, 30, 30), (235, 235, 235))],
)
@pytest.mark.parametrize("noise", [0, 6])
def test_colours_of_letters(ink: tuple[int, int, int], ground: tuple[int, int, int], noise: int) -> None:
    picture = Image.new("RGB", (150, 36), ground)
    ImageDraw.Draw(picture).text((6, 30), "Exit gate", fill=ink, font=FONT, anchor="ls")
    pixels = np.asarray(picture).astype(float)
    pixels += np.random.default_rng(1).normal(0, noise, pixels.shape)
    found = dominant(np.clip(pixels, 0, 255).astype(np.uint8), np.ones((36, 150), bool))
    assert found[0] is not None
    assert np.abs(np.subtract(found[0], ink)).max() <= 6 + 2 * noise
    assert np.abs(np.subtract(found[1], ground)).max() <= 3 + noise


def test_a_plain_box_has_no_ink() -> None:
    pixels = np.full((10, 20, 3), 90, np.uint8)
    pixels[::2] = 95
    ink, ground = dominant(pixels, np.ones((10, 20), bool))
    assert ink is None
    assert max(ground) <= 95
    assert min(ground) >= 90
    one = dominant(pixels[:1, :1], np.ones((1, 1), bool))
    assert one == (None, (95, 95, 95))


def test_ink_that_cannot_be_seen_becomes_black_or_white() -> None:
    assert readable((200, 0, 0), (255, 255, 255)) == (200, 0, 0)
    assert readable(None, (255, 255, 0)) == (0, 0, 0)
    assert readable((10, 10, 10), (0, 0, 40)) == (255, 255, 255)
