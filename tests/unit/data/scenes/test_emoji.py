"""The option to draw with the system's colour-emoji font."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import get_data_path

from sightweave.core.errors import BackendError, DataError
from sightweave.data.scenes.drawing import boxes, draw, draw_with_masks
from sightweave.data.scenes.emoji import CHARACTERS, FONT_PATHS, emoji_bitmap, find_font
from sightweave.data.scenes.pictograms import PICTOGRAMS
from sightweave.data.scenes.scene import Background, Scene, Thing

with_font = pytest.mark.skipif(
    not any(Path(path).is_file() for path in FONT_PATHS), reason="this system has no colour-emoji font"
)
LATIN_FONT = Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def scene(name: str, *, is_shape: bool = False) -> Scene:
    fill, rgb = ("solid", (220, 40, 40)) if is_shape else ("", (0, 0, 0))
    thing = Thing(name, is_shape, "red" if is_shape else "", rgb, fill, "big", 768, 768, 448, 0)
    return Scene("scenes/0/train/0", "train", Background("plain", ((235, 238, 230),)), (thing,))


def test_emoji_stand_for_pictograms_and_no_two_share_one():
    assert set(CHARACTERS) < set(PICTOGRAMS)
    assert len(set(CHARACTERS.values())) == len(CHARACTERS)


def test_a_missing_font_is_named_with_what_to_do():
    with pytest.raises(BackendError, match=r"no colour-emoji font at nowhere/emoji\.ttf.*use style: drawn"):
        emoji_bitmap("dog", 32, "nowhere/emoji.ttf")


def test_a_font_that_lacks_the_emoji_is_refused():
    with pytest.raises(BackendError, match=r"DejaVuSans\.ttf: the font has no glyph for 'dog'"):
        emoji_bitmap("dog", 32, LATIN_FONT)


def test_a_file_that_is_no_font_is_refused(tmp_path):
    path = tmp_path / "emoji.ttf"
    path.write_bytes(b"no font")
    with pytest.raises(BackendError, match=r"emoji\.ttf: cannot draw glyphs 109 pixels high"):
        emoji_bitmap("dog", 32, path)


def test_a_pictogram_without_an_emoji_is_refused():
    with pytest.raises(DataError, match=r"no emoji for the pictogram 'nut_metal'\. .*Known: .*nut_food"):
        emoji_bitmap("nut_metal", 32, LATIN_FONT)


@with_font
@pytest.mark.parametrize("name", CHARACTERS)
def test_every_emoji_of_the_system_is_drawn_in_color_and_centred(name):
    bitmap = emoji_bitmap(name, 64, find_font())
    assert bitmap.shape == (64, 64, 4)
    rows, columns = np.nonzero(bitmap[..., 3] > 127)
    assert 50 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 62
    assert abs(rows.min() + rows.max() - 63) <= 6
    assert abs(columns.min() + columns.max() - 63) <= 6


@with_font
def test_a_scene_in_emoji_differs_from_a_drawn_one_and_has_its_own_masks():
    pixels, masks = draw_with_masks(scene("banana"), "emoji")
    assert np.array_equal(pixels, draw(scene("banana"), "emoji"))
    assert (pixels != draw(scene("banana"))).any(-1).sum() > 150
    changed = (pixels != (235, 238, 230)).any(-1)
    assert masks[0].sum() > 150
    assert not (masks[0] & ~changed).any()
    left, top, right, bottom = boxes(scene("banana"), "emoji")[0]
    assert 0.33 < left < right < 0.67
    assert 0.33 < top < bottom < 0.67


@with_font
def test_what_has_no_emoji_and_every_shape_are_drawn_as_ever():
    assert np.array_equal(draw(scene("nut_metal"), "emoji"), draw(scene("nut_metal")))
    assert np.array_equal(draw(scene("star", is_shape=True), "emoji"), draw(scene("star", is_shape=True)))
