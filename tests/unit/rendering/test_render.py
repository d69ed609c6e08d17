"""Words on photographs are replaced, and everything else stays bit for bit equal."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter, features
from skimage import data

from sightweave.core.errors import DataError
from sightweave.core.text_regions import TextRegion
from sightweave.rendering import fonts
from sightweave.rendering.areas import corners_of
from sightweave.rendering.render import render

SIZES = (
    (32, 24), (48, 48), (64, 96), (97, 61), (128, 128), (160, 90),
    (201, 333), (256, 256), (320, 200), (427, 640), (512, 512), (799, 601),
)  # fmt: skip
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
BOX = (0.1, 0.3, 0.9, 0.7)


def photograph(name: str, size: tuple[int, int], mode: str) -> Image.Image:
    picture = Image.fromarray(getattr(data, name)()).resize(size)
    if mode == "I;16":
        grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257 + 3
        return Image.frombytes("I;16", size, grey.astype("<u2").tobytes())
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(size))
        return picture
    return picture.quantize(64) if mode == "P" else picture.convert(mode)


def with_words(picture: Image.Image, words: str = "Exit") -> Image.Image:
    """Dark words on a light sign in the middle of a picture."""
    width, height = picture.size
    sign = (int(width * 0.05), int(height * 0.25), int(width * 0.95), int(height * 0.75))
    shown = picture.copy()
    light, dark = {"P": (5, 60), "I;16": (52000, 9000), "L": (210, 20)}.get(
        picture.mode, ((230, 220, 200), (20, 30, 60))
    )
    shown.paste(light, sign)
    letters = Image.new("L", picture.size)
    font = fonts.sized(fonts.find("DejaVu Sans"), max(8, height // 4), complex_layout=False)
    ImageDraw.Draw(letters).text((width / 2, height / 2), words, fill=255, font=font, anchor="mm")
    shown.paste(dark, (0, 0), letters.point(lambda value: 255 * (value > 127)))
    return shown


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
@pytest.mark.parametrize("size", SIZES)
def test_all_pixels_outside_the_boxes_are_equal(size: tuple[int, int], mode: str) -> None:
    name = PHOTOGRAPHS[SIZES.index(size) % len(PHOTOGRAPHS)]
    given = with_words(photograph(name, size, mode))
    kept = given.tobytes()
    width, height = size
    done = render(given, [TextRegion("Tor", BOX)], min_size=4)

    assert given.tobytes() == kept
    assert (done.picture.mode, done.picture.size) == (mode, size)
    assert done.faults == ()
    depth = len(kept) // (width * height)
    before = np.frombuffer(kept, np.uint8).reshape(height, width, depth)
    after = np.frombuffer(done.picture.tobytes(), np.uint8).reshape(height, width, depth)
    inside = np.zeros((height, width), bool)
    inside[int(height * 0.3) : -(-height * 7 // 10), int(width * 0.1) : -(-width * 9 // 10)] = True
    assert np.array_equal(before[~inside], after[~inside])
    assert not np.array_equal(before[inside], after[inside])


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_all_pixels_outside_a_turned_box_are_equal(mode: str) -> None:
    given = photograph("chelsea", (201, 133), mode)
    region = TextRegion("Tor 7", (0.2, 0.4, 0.8, 0.6), angle=-17)
    after = np.asarray(render(given, [region]).picture)

    # Pillow draws the same polygon; no pixel may change that is more than one pixel outside it.
    polygon = Image.new("L", given.size)
    corners = [tuple(point) for point in corners_of(region, given.size)]
    ImageDraw.Draw(polygon).polygon(corners, fill=255)
    near = np.asarray(polygon.filter(ImageFilter.MaxFilter(5))) > 0
    assert np.array_equal(np.asarray(given)[~near], after[~near])
    assert not np.array_equal(np.asarray(given)[near], after[near])


def sign(text: str = "", size: tuple[int, int] = (300, 80)) -> Image.Image:
    picture = Image.new("RGB", size, (240, 230, 60))
    if text:
        font = fonts.sized(fonts.find("DejaVu Sans"), size[1] // 2, complex_layout=False)
        ImageDraw.Draw(picture).text(
            (size[0] / 2, size[1] / 2), text, fill=(10, 20, 120), font=font, anchor="mm"
        )
    return picture


def test_the_old_words_are_gone_and_the_colours_are_kept() -> None:
    empty = render(sign("Bakery"), [TextRegion("", (0.05, 0.1, 0.95, 0.9))]).picture
    assert np.array_equal(np.asarray(empty), np.asarray(sign()))

    new = np.asarray(render(sign("Bakery"), [TextRegion("Haus", (0.05, 0.1, 0.95, 0.9))]).picture).astype(int)
    old = np.asarray(sign("Bakery")).astype(int)
    # The darkest pixels are of the estimated ink, and differ little from the old ink.
    inks = [pixels.reshape(-1, 3)[pixels.sum(2).argmin()] for pixels in (old, new)]
    assert np.abs(inks[0] - inks[1]).max() <= 6


def test_given_colours_are_used_exactly() -> None:
    region = TextRegion("Haus", (0.1, 0.1, 0.9, 0.9), ink=(1, 200, 3), ground=(40, 50, 60))
    found = render(sign("Bakery"), [region]).picture.crop((30, 8, 270, 72))
    colors = dict((color, count) for count, color in found.getcolors(1 << 16))
    assert max(colors, key=colors.__getitem__) == (40, 50, 60)
    assert (1, 200, 3) in colors


def test_letters_that_reach_out_of_a_tight_box_leave_no_stains() -> None:
    # The box cuts the words off above and below; their colour must not spread into it.
    done = render(sign("Bakery"), [TextRegion("", (0.05, 0.3, 0.95, 0.62))]).picture
    inside = np.asarray(done.crop((40, 30, 260, 46))).astype(int)
    assert np.abs(inside - (240, 230, 60)).max() <= 20  # the ink differs by up to 230


@pytest.mark.parametrize("frame", [1, 5])
def test_a_frame_in_the_colour_of_the_letters_does_not_spread_into_the_box(frame: int) -> None:
    framed = sign("Bakery")
    ImageDraw.Draw(framed).rectangle(
        (15 - frame, 8 - frame, 284 + frame, 71 + frame), outline=(10, 20, 120), width=frame
    )
    done = render(framed, [TextRegion("", (0.05, 0.1, 0.95, 0.9))]).picture
    inside = np.asarray(done.crop((15, 8, 285, 72)))
    assert np.array_equal(inside, np.full_like(inside, (240, 230, 60)))


def test_regions_may_overlap_and_none_shows_through() -> None:
    first = TextRegion("AB", (0.05, 0.1, 0.6, 0.9))
    second = TextRegion("", (0.4, 0.1, 0.95, 0.9))
    done = render(sign("Bakery"), [first, second]).picture
    right = np.asarray(done.crop((185, 8, 285, 72)))
    assert np.array_equal(right, np.full_like(right, (240, 230, 60)))


def test_a_whole_picture_is_filled_with_its_ground() -> None:
    done = np.asarray(render(sign("Bakery"), [TextRegion("", (0, 0, 1, 1))]).picture)
    assert np.array_equal(done, np.full_like(done, (240, 230, 60)))


def test_a_gradient_is_continued_below_the_words() -> None:
    ramp = Image.linear_gradient("L").resize((256, 120)).rotate(0)
    spoilt = ramp.copy()
    ImageDraw.Draw(spoilt).rectangle((80, 40, 170, 80), fill=255)
    done = render(spoilt, [TextRegion("", (0.25, 0.25, 0.75, 0.75))]).picture
    difference = np.asarray(ImageChops.difference(ramp, done))
    assert difference.max() <= 12


@pytest.mark.parametrize("angle", [0, 8, -25, 90])
def test_a_rotated_text_is_the_upright_one_turned(angle: float) -> None:
    plain = Image.new("L", (200, 200), 255)
    region = TextRegion("Tor 7", (0.2, 0.4, 0.8, 0.6), angle=angle, ink=(0, 0, 0), ground=(255, 255, 255))
    found = render(plain, [region]).picture
    upright = render(plain, [TextRegion("Tor 7", region.box, ink=(0, 0, 0), ground=(255, 255, 255))]).picture
    back = np.asarray(found.rotate(-angle, Image.Resampling.BICUBIC, fillcolor=255)).astype(float)
    expected = np.asarray(upright).astype(float)
    assert expected.min() == 0
    assert np.corrcoef(back.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.skipif(not features.check("raqm"), reason="this Pillow was built without Raqm")
@pytest.mark.parametrize("text", ["خروج", "שלום"])
def test_right_to_left_letters_are_shaped_and_start_on_the_right(text: str) -> None:
    def columns(words: str) -> np.ndarray:
        region = TextRegion(words, (0, 0, 1, 1), ink=(0, 0, 0), ground=(255, 255, 255), align="left")
        shown = render(Image.new("L", (400, 60)), [region], max_size=40).picture
        return (np.asarray(shown) < 128).sum(0)

    whole, first = columns(text), columns(text[0])
    right = int(whole.nonzero()[0][-1])
    assert right > int(first.nonzero()[0][-1])
    # The first letter is drawn at the right end: a stop after the word is on its left.
    dotted = columns(f"{text}.")
    gained = dotted.sum() - whole.sum()
    assert gained > 0
    assert dotted[:8].sum() > 0
    assert dotted[: right // 8].sum() < whole.sum() / 2
    if text == "خروج":  # joined letters differ from single ones
        apart = sum(columns(letter).sum() for letter in text)
        assert whole.sum() != apart


def test_transparency_below_the_words_is_continued() -> None:
    given = Image.new("RGBA", (120, 40), (255, 0, 0, 0))
    done = np.asarray(render(given, [TextRegion("Hut", (0, 0, 1, 1), ink=(0, 0, 255))]).picture)
    assert (done[:, :, 3] == 0).any()
    solid = done[done[:, :, 3] > 200]
    assert len(solid)
    # The invisible red must not colour the letters' edges.
    assert solid[:, 0].max() == 0
    assert solid[:, 2].min() == 255


def test_an_exif_rotation_is_applied_first() -> None:
    given = sign("Bakery", (80, 300))
    exif = given.getexif()
    exif[0x0112] = 6
    turned = Image.new("RGB", given.size)
    turned.paste(given)
    turned.info["exif"] = exif.tobytes()
    done = render(turned, [TextRegion("", (0, 0, 0.1, 0.1))]).picture
    assert done.size == (300, 80)
    assert done.getexif().get(0x0112, 1) == 1


def test_faults_are_errors_or_are_listed() -> None:
    regions = [
        TextRegion("fits", (0.1, 0.1, 0.9, 0.4)),
        TextRegion("a text that is far too long", (0.1, 0.5, 0.2, 0.6)),
        TextRegion("\U000f1234", (0.3, 0.5, 0.6, 0.9)),
        TextRegion("turned", (0.0, 0.0, 1.0, 0.5), angle=90),
    ]
    given = sign("Bakery")
    for region, message in zip(
        regions[1:],
        [r"'a text that is far too long' does not fit into its box \(0.1, 0.5, 0.2, 0.6\) of 30 x 8 pixels even at the "
         "minimum font size of 8 pixels", "DejaVuSans.ttf", "reaches outside the image of 300 x 80"],
        strict=True,
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            render(given, [region])
    done = render(given, regions, skip_faults=True)
    assert len(done.faults) == 3
    alone = render(given, regions[:1])
    assert done.picture.tobytes() == alone.picture.tobytes()
    with pytest.raises(DataError, match="'No Such Face' is not installed"):
        render(given, [], font="No Such Face", skip_faults=True)


def test_without_regions_the_picture_is_a_copy() -> None:
    given = sign("Bakery")
    done = render(given, [])
    assert done.picture is not given
    assert done.picture.tobytes() == given.tobytes()
