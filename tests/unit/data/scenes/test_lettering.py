"""Drawing signs: sharp letters, exact colours, nothing outside the panel, and errors instead of boxes."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from sightweave.core.errors import DataError
from sightweave.data.scenes import drawing
from sightweave.data.scenes.face import text_bitmap
from sightweave.data.scenes.lettering import (
    COLORS,
    DOTS,
    FACES,
    draw_signs,
    panel_size,
    region_of,
    with_text,
)
from sightweave.data.scenes.scene import UNIT, Sign
from sightweave.data.scenes.signs import make_sign_scene

HASH = "1027820dc238c73c5cdb02594032623a9a1a865cf2960a6a687930540417370d"
GRAY = np.full((96, 96, 3), 128, np.uint8)


def sign(
    shown: str = "bat", *, face: str = "regular", dot: int = 16, angle: int = 0, **fields: object
) -> Sign:
    lines = shown.split("\n")
    width, height = panel_size(len(lines), max(map(len, lines)), face, dot)
    x, y = 48 * UNIT + width // 2 % UNIT, 48 * UNIT + height // 2 % UNIT  # the panel's edges are whole pixels
    made = Sign(shown, "en", face, dot, "black", "white", x, y, width, height, angle)
    if not fields:
        return made
    return replace(made, **fields)


def test_the_same_bytes_on_every_machine() -> None:
    digest = hashlib.sha256()
    for index in range(30):
        made = make_sign_scene(0, "combinations", index, 2).drawn
        digest.update(draw_signs(drawing.draw(made.scene), made.signs).tobytes())
    assert digest.hexdigest() == HASH


@pytest.mark.parametrize("face", ["regular", "bold"])
@pytest.mark.parametrize("scale", [1, 2])
def test_upright_letters_are_sharp(face: str, scale: int) -> None:
    pixels = draw_signs(GRAY, (sign("Zoë", face=face, dot=16 * scale),))
    dots = text_bitmap("Zoë", face).repeat(scale, 0).repeat(scale, 1)
    is_ink = (pixels == COLORS["black"]).all(-1)
    found = [
        (top, left)
        for top in range(96 - dots.shape[0])
        for left in range(96 - dots.shape[1])
        if (is_ink[top : top + dots.shape[0], left : left + dots.shape[1]] == dots).all()
    ]
    assert len(found) == 1
    colors = {tuple(color) for color in pixels.reshape(-1, 3).tolist()}
    assert colors == {(128, 128, 128), COLORS["black"], COLORS["white"]}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("dot", DOTS)
@pytest.mark.parametrize("angle", [0, 5, -8])
def test_nothing_changes_outside_the_frame(face: str, dot: int, angle: int) -> None:
    one = sign("ab\ncd", face=face, dot=dot, angle=angle)
    pixels = draw_signs(GRAY, (one,))
    region = region_of(one, (96, 96))
    left, top, right, bottom = (edge * 96 for edge in region.box)

    y, x = np.mgrid[:96, :96] + 0.5
    y, x = y - one.y / UNIT, x - one.x / UNIT
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    across, down = np.abs(x * cos + y * sin), np.abs(y * cos - x * sin)
    far = (across > (right - left) / 2 + 2) | (down > (bottom - top) / 2 + 2)
    near = (across < (right - left) / 2 - 1) & (down < (bottom - top) / 2 - 1)
    assert (pixels[far] == 128).all()
    assert (pixels[near].mean(-1) != 128).all()
    assert (GRAY == 128).all()


def test_another_text_changes_nothing_outside_the_box() -> None:
    one = sign("bat", angle=4, width=90 * UNIT, height=20 * UNIT)
    source, target = draw_signs(GRAY, (one,)), draw_signs(GRAY, (with_text(one, "Fledermaus", "de"),))
    changed = (source != target).any(-1)
    y, x = np.nonzero(changed)
    assert changed.any()
    assert np.abs(y - 48).max() < 16
    assert np.abs(x - 48).max() < 45


def test_a_region_says_where_and_how() -> None:
    one = sign("bat", angle=4, ink="yellow", ground="blue")
    region = region_of(one, (96, 96))
    assert (region.text, region.angle, region.ink, region.ground) == (
        "bat",
        -4,
        COLORS["yellow"],
        COLORS["blue"],
    )
    left, _, right, _ = region.box
    assert (right - left) * 96 * UNIT == pytest.approx(one.width)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": "bat 汉"}, "no glyph for '汉'"),
        (
            {"text": "Fledermaus"},
            r"the text 'Fledermaus' is 60 x 12 pixels at this size, but its panel has only 24 x 14",
        ),
        ({"x": 20}, r"the sign 'bat' reaches from \(-12, .*outside the image of 96 x 96"),
        ({"ink": "blak"}, "no ink 'blak'.*black"),
        ({"ink": "white"}, "white letters on a white ground"),
        ({"face": "bald"}, "no face 'bald'.*bold"),
    ],
)
def test_faults_are_errors(fields: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        draw_signs(GRAY, (sign("bat", **fields),))  # type: ignore[arg-type]
