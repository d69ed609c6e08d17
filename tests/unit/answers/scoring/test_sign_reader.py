"""The template reader: clean signs are read without an error, and what it cannot read it does not make up."""

from dataclasses import replace

import numpy as np
import pytest

from sightweave.answers.scoring.sign_reader import read_sign
from sightweave.core.text_regions import TextRegion, format_regions, read_regions
from sightweave.data.scenes.lettering import DOTS, FACES, draw_signs, panel_size, region_of, with_text
from sightweave.data.scenes.scene import UNIT, Sign
from sightweave.data.scenes.signs import INKS_AND_GROUNDS, make_sign_scene

SIZE = 128
TEXTS = ("Zwölf Äxte", "l'œuf,\nß cèéêë", "rncmw il1I\nO0Q 8B", "(à vendre)\n5,90 €!")
rng = np.random.default_rng(0)


def sign(text: str, face: str, dot: int, angle: int, colors: tuple[str, str]) -> Sign:
    lines = text.split("\n")
    width, height = panel_size(len(lines), max(map(len, lines)), face, dot)
    x, y = SIZE * UNIT // 2 + width // 2 % UNIT, SIZE * UNIT // 2 + height // 2 % UNIT
    return Sign(text, "", face, dot, *colors, x, y, width, height, angle)


def drawn(one: Sign) -> np.ndarray:
    noise = rng.integers(100, 200, (SIZE, SIZE, 3)).astype(np.uint8)
    return draw_signs(noise, (one,))


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("dot", DOTS)
def test_every_face_size_color_and_angle_is_read_without_an_error(face: str, dot: int) -> None:
    for number, angle in enumerate((0, 0, 1, -3, 5, 8, -8)):
        text = TEXTS[(number + dot) % len(TEXTS)]
        if dot == 32:
            text = text.replace("\n", " ")[:7].strip()
        colors = INKS_AND_GROUNDS[(7 * number + dot) % len(INKS_AND_GROUNDS)]
        one = sign(text, face, dot, angle, colors)
        region = region_of(one, (SIZE, SIZE))
        if angle and dot > 24:
            continue
        reading = read_sign(drawn(one), region)
        assert reading.text == text, (face, dot, angle, colors)
        assert reading.distance < 0.01


def test_the_colors_need_not_be_known_and_the_box_may_be_rounded() -> None:
    for angle in (0, 4):
        one = sign("the\nFledermaus", "bold", 16, angle, ("yellow", "blue"))
        (rounded,) = read_regions(format_regions([region_of(one, (SIZE, SIZE))]), "sign")
        assert read_sign(drawn(one), replace(rounded, ink=None, ground=None)).text == "the\nFledermaus"


def test_a_text_that_is_shorter_than_its_panel_is_read() -> None:
    for text in ("bat", "a", "the\nbat", "ab cd"):
        one = with_text(sign("chauve-souris\nx", "regular", 16, 0, ("black", "white")), text, "en")
        assert read_sign(drawn(one), region_of(one, (SIZE, SIZE))).text == text


def test_signs_of_scenes_are_read() -> None:
    for index in range(6):
        made = make_sign_scene(11, "combinations", index, 2).drawn
        pixels = draw_signs(np.full((96, 96, 3), 220, np.uint8), made.signs)
        for one in made.signs:
            assert read_sign(pixels, region_of(one, (96, 96))).text == one.text


def test_an_empty_panel_has_no_text() -> None:
    plain = np.full((SIZE, SIZE, 3), 90, np.uint8)
    reading = read_sign(plain, TextRegion("x", (0.1, 0.1, 0.9, 0.4)))
    assert (reading.text, reading.distance) == ("", 0)


def test_a_wrong_letter_is_seen() -> None:
    one = sign("bat", "regular", 16, 0, ("black", "white"))
    other = with_text(one, "bet", "en")
    assert read_sign(drawn(other), region_of(one, (SIZE, SIZE))).text == "bet"


def test_noise_is_no_text_that_matches_well() -> None:
    noise = rng.integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)
    reading = read_sign(noise, TextRegion("x", (0.2, 0.3, 0.8, 0.45)))
    assert reading.distance > 0.05
