"""Pixels, masks and boxes of the embedded world."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools

import numpy as np
import pytest

from sightweave.core.errors import DataError, RecipeError
from sightweave.data.scenes import drawing
from sightweave.data.scenes.drawing import boxes, draw, draw_with_masks, mask_boxes
from sightweave.data.scenes.pictograms import COLORS, PICTOGRAMS, SHAPES
from sightweave.data.scenes.scene import SIDE, UNIT, Background, Scene, Thing

PALE = Background("plain", ((235, 238, 230),))
RED = (220, 40, 40)
HASHES = (
    "22233118aca06ae9",
    "7c762464abad95cf",
    "8ad48355b49aafe0",
    "a8666e64b274730b",
    "145cb39f75fdc7f2",
    "e2ee55679a1623fd",
    "77259826f7e2fae0",
    "b892a583ac40246e",
    "b06c022cd1d7fa87",
    "ce0f93641704ab2d",
)


class Dice:
    """Small whole numbers from plain arithmetic, the same everywhere."""

    def __init__(self, seed: int) -> None:
        self.state = seed * 2654435761 % 2**32

    def between(self, low: int, high: int) -> int:
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return low + (self.state >> 8) % (high - low + 1)

    def color(self, low: int, high: int) -> tuple[int, int, int]:
        return self.between(low, high), self.between(low, high), self.between(low, high)


def thing(name: str, **changes: object) -> Thing:
    """A thing in the middle of the picture; a shape is red and solid."""
    is_shape = name in SHAPES
    plain = Thing(
        name=name,
        is_shape=is_shape,
        color="red" if is_shape else "",
        rgb=RED if is_shape else (0, 0, 0),
        fill="solid" if is_shape else "",
        size="big",
        x=SIDE * UNIT // 2,
        y=SIDE * UNIT // 2,
        side=28 * UNIT,
        angle=0,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]  # tests name the fields


def scene(*things: Thing, background: Background = PALE) -> Scene:
    return Scene(key="scenes/0/train/0", split="train", background=background, things=things)


def mixed_scene(index: int) -> Scene:
    """Up to four things of all kinds, one to a quarter of the picture, on any background."""
    dice = Dice(index)
    kind, count = (("plain", 1), ("gradient", 4), ("noise", 25))[dice.between(0, 2)]
    background = Background(kind, tuple(dice.color(205, 255) for _ in range(count)))
    things = []
    for quarter in range(dice.between(1, 4)):
        place = {
            "x": (24 + 48 * (quarter % 2)) * UNIT + dice.between(-40, 40),
            "y": (24 + 48 * (quarter // 2)) * UNIT + dice.between(-40, 40),
            "side": (28, 19)[dice.between(0, 1)] * UNIT + dice.between(-16, 16),
            "angle": dice.between(-12, 12),
        }
        if dice.between(0, 1):
            fill = ("solid", "striped")[dice.between(0, 1)]
            name = list(SHAPES)[dice.between(0, len(SHAPES) - 1)]
            things.append(thing(name, rgb=dice.color(0, 255), fill=fill, **place))
        else:
            name = list(PICTOGRAMS)[dice.between(0, len(PICTOGRAMS) - 1)]
            things.append(thing(name, rgb=dice.color(-18, 18), **place))
    return scene(*things, background=background)


@pytest.mark.parametrize("ten", range(10))
def test_a_hundred_pictures_are_the_same_on_every_machine(ten):
    digest = hashlib.sha256()
    for index in range(10 * ten, 10 * ten + 10):
        digest.update(draw(mixed_scene(index)).tobytes())
    assert digest.hexdigest()[:16] == HASHES[ten]


def test_the_cache_is_bounded_and_changes_no_pixel():
    scenes = [mixed_scene(index) for index in range(10)]
    first = [draw(each) for each in scenes]
    drawing._texture.cache_clear()
    assert all(np.array_equal(draw(each), pixels) for each, pixels in zip(scenes, first, strict=True))
    megabytes = (
        drawing._texture("dog", "drawn", 9).nbytes * drawing._texture.cache_parameters()["maxsize"] / 1e6
    )
    assert megabytes < 16


def test_there_are_28_plain_pictures_and_two_for_each_of_18_words():
    words = [name.split("_")[0] for name in PICTOGRAMS if "_" in name]
    assert len(PICTOGRAMS) == 28 + 36
    assert {words.count(word) for word in words} == {2}
    assert all(set(drawing_text.split()) & set(COLORS) for drawing_text in PICTOGRAMS.values())


def test_pictures_are_fresh_bytes_of_the_right_shape():
    pixels = draw(mixed_scene(3))
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    before = pixels.copy()
    pixels[:] = 0
    assert np.array_equal(draw(mixed_scene(3)), before)


@pytest.mark.parametrize("side", [19, 28])
def test_every_name_differs_clearly_from_every_other(side):
    names = (*PICTOGRAMS, *SHAPES)
    middle = slice(28, 68)
    drawn = [draw(scene(thing(name, side=side * UNIT)))[middle, middle].astype(np.int16) for name in names]
    inked = [abs(pixels - np.array(PALE.colors[0], np.int16)).max(-1) > 40 for pixels in drawn]
    for one, two in itertools.combinations(range(len(names)), 2):
        different = (abs(drawn[one] - drawn[two]).max(-1) > 60).sum()
        # A circle and a square of one colour share much; two pictograms must not.
        least = 0.2 if {names[one], names[two]} & set(SHAPES) else 0.4
        assert different >= least * (inked[one] | inked[two]).sum(), (
            f"{names[one]} and {names[two]} look alike"
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_striped_differs_from_solid_but_has_the_same_mask(shape):
    solid, mask = draw_with_masks(scene(thing(shape)))
    striped, striped_mask = draw_with_masks(scene(thing(shape, fill="striped")))
    assert np.array_equal(mask, striped_mask)
    share = (abs(solid.astype(int) - striped).max(-1) > 60).sum() / mask.sum()
    assert 0.1 < share < 0.6


def test_a_solid_shape_has_its_color_inside_and_the_background_outside():
    pixels, masks = draw_with_masks(scene(thing("square")))
    assert tuple(pixels[48, 48]) == RED
    assert tuple(pixels[5, 5]) == PALE.colors[0]
    inner = masks[0] & np.roll(masks[0], 2, 0) & np.roll(masks[0], -2, 0)
    inner &= np.roll(masks[0], 2, 1) & np.roll(masks[0], -2, 1)
    assert (pixels[inner] == RED).all()


def test_the_area_of_a_circle_follows_its_side():
    # The circle's radius is 29 of 64 units.
    for side in (19, 24, 28):
        mask = draw_with_masks(scene(thing("circle", side=side * UNIT)))[1][0]
        assert mask.sum() == pytest.approx(3.14159 * (side * 29 / 64) ** 2, rel=0.03)


def test_masks_are_disjoint_and_hold_all_the_ink():
    for index in range(40):
        each = mixed_scene(index)
        pixels, masks = draw_with_masks(each)
        assert np.array_equal(pixels, draw(each))
        assert masks.shape == (len(each.things), SIDE, SIDE)
        assert masks.sum(0).max() <= 1
        empty = draw(dataclasses.replace(each, things=()))
        untouched = (pixels == empty).all(-1)
        near = masks.any(0)
        for axis, step in itertools.product((0, 1), (-1, 1)):
            near = near | np.roll(near, step, axis)
        assert untouched[~near].mean() > 0.99


def test_a_later_thing_takes_the_pixels_that_it_covers():
    masks = draw_with_masks(scene(thing("square"), thing("circle", side=14 * UNIT)))[1]
    assert not masks[0, 48, 48]
    assert masks[1, 48, 48]
    assert masks[0, 38, 38]


def test_boxes_are_the_masks_in_fractions():
    each = mixed_scene(7)
    masks = draw_with_masks(each)[1]
    for mask, (left, top, right, bottom) in zip(masks, boxes(each), strict=True):
        rows, columns = np.nonzero(mask)
        assert (rows.min() / SIDE, (rows.max() + 1) / SIDE) == (top, bottom)
        assert (columns.min() / SIDE, (columns.max() + 1) / SIDE) == (left, right)
    assert mask_boxes(np.zeros((0, SIDE, SIDE), bool)) == []


def test_a_box_surrounds_the_place_that_the_scene_names():
    found = boxes(scene(thing("square", x=20 * UNIT, y=70 * UNIT, side=32 * UNIT)))[0]
    # The square spans units 6 to 58 of 64: 26 pixels around its centre.
    assert found == (7 / SIDE, 57 / SIDE, 33 / SIDE, 83 / SIDE)


@pytest.mark.parametrize("name", PICTOGRAMS)
def test_every_pictogram_fills_its_square_and_stays_near_it(name):
    mask = draw_with_masks(scene(thing(name, side=32 * UNIT)))[1][0]
    left, top, right, bottom = (round(SIDE * edge) for edge in mask_boxes(mask[None])[0])
    assert max(right - left, bottom - top) >= 26
    assert min(left, top) >= 48 - 19
    assert max(right, bottom) <= 48 + 19
    assert mask.sum() >= 200


def test_a_sixteenth_of_a_pixel_and_a_degree_both_count():
    still = draw(scene(thing("car")))
    assert not np.array_equal(still, draw(scene(thing("car", x=SIDE * UNIT // 2 + 4))))
    assert not np.array_equal(still, draw(scene(thing("car", angle=3))))
    assert np.array_equal(np.roll(still, 5, 1), draw(scene(thing("car", x=SIDE * UNIT // 2 + 5 * UNIT))))


def test_positive_angles_turn_clockwise():
    straight = draw_with_masks(scene(thing("letter_mail")))[1][0]
    turned = draw_with_masks(scene(thing("letter_mail", angle=12)))[1][0]
    right = slice(54, 60)
    assert np.nonzero(turned[:, right])[0].mean() > np.nonzero(straight[:, right])[0].mean() + 1


def test_a_shift_moves_each_channel_of_a_pictogram_only_inside_it():
    plain, masks = draw_with_masks(scene(thing("tree")))
    shifted = draw(scene(thing("tree", rgb=(18, -18, 0))))
    change = shifted.astype(int) - plain
    assert change[..., 0].max() == 18
    assert change[..., 1].min() == -18
    assert not change[..., 2].any()
    assert not change[~masks[0] & (plain == PALE.colors[0]).all(-1)].any()


def test_things_at_the_edge_are_cut_and_things_outside_have_no_box():
    assert draw_with_masks(scene(thing("dog", x=0)))[1].any()
    outside = scene(thing("dog", x=-40 * UNIT))
    assert not draw_with_masks(outside)[1].any()
    with pytest.raises(DataError, match="thing 0 has no visible pixel"):
        boxes(outside)


def test_a_gradient_runs_between_its_corners_and_noise_through_its_lattice():
    corners = ((210, 220, 230), (250, 220, 230), (210, 255, 230), (250, 255, 205))
    pixels = draw(scene(background=Background("gradient", corners))).astype(int)
    for row, column, color in zip((0, 0, -1, -1), (0, -1, 0, -1), corners, strict=True):
        assert abs(pixels[row, column] - color).max() <= 1
    assert (np.diff(pixels[0, :, 0]) >= 0).all()
    lattice = tuple((205 + 2 * place, 255 - 2 * place, 230) for place in range(25))
    noise = draw(scene(background=Background("noise", lattice))).astype(int)
    assert abs(noise[48, 48] - lattice[12]).max() <= 1
    assert abs(np.diff(noise, axis=0)).max() <= 2
    assert (noise[..., 2] == 230).all()


def test_unknown_names_and_numbers_are_refused_with_what_is_known():
    def refused(match: str, *things: Thing, background: Background = PALE) -> None:
        with pytest.raises(DataError, match=match):
            draw(scene(*things, background=background))

    refused("unknown pictogram 'hors'. Did you mean 'horse'", thing("hors"))
    refused(
        "unknown shape 'sqare'. Did you mean 'square'", dataclasses.replace(thing("square"), name="sqare")
    )
    refused("unknown fill 'stripes' of a star. Did you mean 'striped'", thing("star", fill="stripes"))
    refused("side of 'dog' is 3 sixteenths of a pixel; it needs 16", thing("dog", side=3))
    refused("rgb of 'star' is .* must be 0 to 255", thing("star", rgb=(-1, 0, 0)))
    refused("rgb of 'dog' is .* must be -255 to 255", thing("dog", rgb=(0, 0, 300)))
    refused("unknown background 'gradiant'. Did you mean", background=Background("gradiant", ((1, 2, 3),)))
    refused(r"a noise background needs 25 colours \(got 1\)", background=Background("noise", ((1, 2, 3),)))
    refused("background colours must be 0 to 255", background=Background("plain", ((1, 2, 300),)))
    with pytest.raises(RecipeError, match=r"unknown drawing style 'emojis'\. Did you mean 'emoji'"):
        draw(scene(thing("dog")), pictures="emojis")
