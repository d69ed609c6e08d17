"""Words that the rendered writer sets in our own face are read back from the pixels, without a single error."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sightweave.answers.scoring.sign_reader import read_sign
from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion
from sightweave.data.scenes.lettering import COLORS, draw_signs, region_of
from sightweave.data.scenes.scene import UNIT, Sign
from sightweave.data.scenes.sign_typeface import SignTypeface
from sightweave.rendering.render import render

WORDS = [
    "Ufer",
    "Gr\u00fc\u00dfe",
    "\u00c9cole",
    "Bank am Ufer",
    "night bat",
    "7 Schl\u00e4ger",
    "Quiz jWxyz",
]


def scene(
    text: str, *, angle: int = 0, dot: int = 16, ink: str = "white", ground: str = "blue"
) -> tuple[Image.Image, TextRegion]:
    """A sign on a smooth background, and its region without colours."""
    sign = Sign(
        *(text, "en", "regular", dot, ink, ground),
        x=64 * UNIT,
        y=40 * UNIT,
        width=96 * UNIT,
        height=40 * UNIT,
        angle=angle,
    )
    y, x = np.mgrid[:80, :128]
    pixels = draw_signs(np.stack([120 + x // 2, 200 - y, 90 + y // 2], 2).astype(np.uint8), (sign,))
    return Image.fromarray(pixels), region_of(sign, (128, 80))


@pytest.mark.parametrize(
    ("words", "angle", "has_colors"),
    [
        *[(words, 0, True) for words in WORDS],
        (WORDS[1], 6, True),
        (WORDS[0], 0, False),
        (WORDS[4], -8, False),
    ],
)
def test_a_rendered_text_is_read_back_exactly(words: str, angle: int, has_colors: bool) -> None:
    picture, old = scene("old words", angle=angle)
    ink, ground = (COLORS["white"], COLORS["blue"]) if has_colors else (None, None)
    region = TextRegion(words, old.box, old.angle, ink=ink, ground=ground)
    done = render(picture, [region], font=SignTypeface()).picture
    found = read_sign(np.asarray(done), TextRegion("", old.box, old.angle))
    assert found.text.split() == words.split()


def test_an_upright_sign_is_drawn_as_the_scene_draws_it() -> None:
    picture, old = scene("old")
    expected, _ = scene("Ufer", dot=32)
    region = TextRegion("Ufer", old.box, ink=COLORS["white"], ground=COLORS["blue"])
    done = render(picture, [region], font=SignTypeface()).picture
    assert np.abs(np.asarray(done).astype(int) - np.asarray(expected)).max() <= 1


def test_faults() -> None:
    picture, old = scene("old")
    with pytest.raises(DataError, match=r"does not fit into its box .* of 96 x 40 pixels"):
        render(picture, [TextRegion("much too long for a sign", old.box)], font=SignTypeface())
    with pytest.raises(DataError, match="\u732b"):
        render(picture, [TextRegion("\u732b", old.box)], font=SignTypeface())
    corners = TextRegion.of_corners("a", [(0.1, 0.2), (0.5, 0.1), (0.6, 0.4), (0.2, 0.5)])
    with pytest.raises(DataError, match="cannot be drawn in perspective"):
        render(picture, [corners], font=SignTypeface())
