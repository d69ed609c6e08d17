"""Rectangles are written in every mode, and no other pixel changes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sightweave.core.errors import MediaError
from sightweave.rendering.canvas import MODES, Canvas

BOX = (3, 2, 9, 7)


def picture(mode: str) -> Image.Image:
    rng = np.random.default_rng(5)
    if mode.startswith("I;16"):
        kind = ">u2" if mode == "I;16B" else "<u2"
        values = rng.integers(0, 65536, (12, 15)).astype(kind)
        return Image.frombytes(mode, (15, 12), values.tobytes())
    plain = Image.fromarray(rng.integers(0, 256, (12, 15, 3), dtype=np.uint8))
    return plain.quantize(16) if mode == "P" else plain.convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_colour_is_written_into_the_mask_alone(mode: str) -> None:
    given = picture(mode)
    canvas = Canvas(given)
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    values = np.tile(canvas.color((200, 200, 200)), (5, 6, 1))
    canvas.put(BOX, values, mask)

    assert canvas.picture.mode == mode
    assert canvas.picture.size == given.size
    expected = 255 if mode == "1" else 200
    shown = canvas.rgb(BOX).astype(int)
    assert np.abs(shown[mask] - expected).max() <= 2
    whole = np.zeros((12, 15), bool)
    whole[2:7, 3:9] = mask
    before = np.frombuffer(given.tobytes(), np.uint8)
    after = np.frombuffer(canvas.picture.tobytes(), np.uint8)
    if mode == "1":
        before, after = np.asarray(given), np.asarray(canvas.picture)
    before, after = before.reshape(12, 15, -1), after.reshape(12, 15, -1)
    assert np.array_equal(before[~whole], after[~whole])
    assert not np.array_equal(before[whole], after[whole])


@pytest.mark.parametrize("mode", MODES)
def test_values_that_are_read_and_written_back_change_nothing(mode: str) -> None:
    given = picture(mode)
    canvas = Canvas(given)
    canvas.put(BOX, canvas.values(BOX), np.ones((5, 6), bool))
    assert canvas.picture.tobytes() == given.tobytes()


def test_a_full_palette_gets_the_nearest_colour_and_never_the_transparent_one() -> None:
    ramp = [value for level in range(256) for value in (level, level, level)]
    given = Image.new("P", (15, 12), 7)
    given.putpalette(ramp)
    given.info["transparency"] = 200
    canvas = Canvas(given)
    canvas.put(BOX, np.tile(canvas.color((200, 200, 203)), (5, 6, 1)), np.ones((5, 6), bool))
    assert set(np.unique(np.asarray(canvas.picture))) == {7, 201}
    assert canvas.picture.getpalette() == given.getpalette()


@pytest.mark.parametrize("mode", ["F", "I", "HSV", "RGBa"])
def test_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(MediaError, match=f"mode '{mode}'; convert it to one of 1, L"):
        Canvas(Image.new(mode, (4, 4)))
