"""Pictures become squares, and boxes land where their things are drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from sightweave.core.config import build
from sightweave.core.errors import RecipeError
from sightweave.data.inputs.transforms import Config, ImageTransform, names_side

FITS = ("pad", "crop", "squash")
AUGMENTS = ("none", "shift", "photo")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    return np.array(Image.fromarray(noise(5, 5)).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("fit", FITS)
def test_the_right_size_is_not_resampled(fit: str) -> None:
    pixels = noise(24, 24)
    made = ImageTransform(size=24, fit=fit)(pixels)
    exact = (torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 - 0.5) / 0.5
    torch.testing.assert_close(made, exact, rtol=0, atol=1e-6)
    assert made.dtype == torch.float32
    assert made.is_contiguous()


def test_mean_and_std_per_channel() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 1.0)
    made = ImageTransform(size=2, mean=mean, std=std)(np.full((2, 2, 3), 255, np.uint8))
    torch.testing.assert_close(made[:, 0, 0], torch.tensor([1.8, 3.2, 0.7]))


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (48, 48), (10, 7)])
def test_resizing_agrees_with_pillows_bicubic(shape: tuple[int, int]) -> None:
    pixels = smooth(*shape)
    made = ImageTransform(size=24, fit="squash")(pixels) * 127.5 + 127.5
    pillow = np.asarray(Image.fromarray(pixels).resize((24, 24), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.abs(made.numpy() - pillow).max() <= 1.01


def test_pad_keeps_the_aspect_and_is_zero_around() -> None:
    made = ImageTransform(size=24)(np.full((12, 24, 3), 255, np.uint8))
    assert (made[:, 6:18] == 1).all()
    assert (made[:, :6] == 0).all()
    assert (made[:, 18:] == 0).all()


def test_crop_takes_the_middle() -> None:
    pixels = noise(24, 40)
    made = ImageTransform(size=24, fit="crop")(pixels)
    torch.testing.assert_close(made, ImageTransform(size=24)(pixels[:, 8:32]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("fit", "box", "expected"),
    [
        ("pad", (0.0, 0.0, 1.0, 1.0), (0.0, 0.25, 1.0, 0.75)),
        ("pad", (0.5, 0.5, 1.0, 1.0), (0.5, 0.5, 1.0, 0.75)),
        ("squash", (0.2, 0.3, 0.4, 0.5), (0.2, 0.3, 0.4, 0.5)),
        ("crop", (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)),
        ("crop", (0.5, 0.0, 0.625, 0.5), (0.5, 0.0, 0.75, 0.5)),
        ("crop", (0.0, 0.0, 0.2, 1.0), (0.0, 0.0, 0.0, 1.0)),
    ],
)
def test_boxes_by_hand(fit: str, box: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert ImageTransform(size=24, fit=fit).place(box, 48, 24) == pytest.approx(expected)


@pytest.mark.parametrize(("fit", "augment"), [*itertools.product(FITS, AUGMENTS)])
def test_a_box_is_where_its_thing_is_drawn(fit: str, augment: str) -> None:
    """A white thing on black: what is bright in the square fills its box and nothing else."""
    transform = ImageTransform(size=64, fit=fit, augment=augment, flip=True)
    for height, width in ((80, 120), (150, 100), (64, 64), (40, 40)):
        top, bottom, left, right = height * 3 // 8, height * 5 // 8, width * 3 // 8, width // 2
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[top:bottom, left:right] = 255
        for seed in (None, *range(20)):
            square = transform(pixels, seed)[0]
            box = transform.place(
                (left / width, top / height, right / width, bottom / height), width, height, seed
            )
            grey = ImageTransform(size=64, fit=fit, augment="none")(np.zeros_like(pixels)).min()
            bright = (square - grey > (square.max() - grey) / 2) & (square > 0.05)
            rows, columns = bright.any(1).nonzero(), bright.any(0).nonzero()
            drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert [float(edge) for edge in drawn] == pytest.approx([64 * edge for edge in box], abs=1.5)


@pytest.mark.parametrize("augment", ["shift", "photo"])
def test_variations_follow_the_seed_alone(augment: str) -> None:
    pixels = smooth(50, 70)
    transform = ImageTransform(size=32, augment=augment)
    plain = ImageTransform(size=32)(pixels)
    torch.testing.assert_close(transform(pixels, 7), transform(pixels, 7), rtol=0, atol=0)
    torch.testing.assert_close(transform(pixels), plain, rtol=0, atol=0)
    different = {tuple(transform(pixels, seed).flatten()[::97].tolist()) for seed in range(20)}
    assert len(different) > 15
    assert (transform(pixels, 3) - plain).abs().max() > 0.05


def test_none_changes_nothing_and_flips_only_if_asked() -> None:
    pixels = smooth(32, 32)
    plain = ImageTransform(size=32)(pixels)
    still, flips = ImageTransform(size=32), ImageTransform(size=32, flip=True)
    mirrored = 0
    for seed in range(40):
        torch.testing.assert_close(still(pixels, seed), plain, rtol=0, atol=0)
        made = flips(pixels, seed)
        mirrored += not torch.equal(made, plain)
        assert torch.equal(made, plain) or torch.equal(made, plain.flip(2))
    assert 10 < mirrored < 30
    left = np.zeros((32, 32, 3), np.uint8)
    left[:, :8] = 255
    for augment in ("shift", "photo"):
        for seed in range(20):
            columns = ImageTransform(size=32, augment=augment)(left, seed)[0].mean(0)
            assert columns[:16].mean() > columns[16:].mean()


def test_a_share_of_the_pictures_loses_its_colours_and_keeps_its_brightness() -> None:
    pixels = smooth(32, 32)
    plain = ImageTransform(size=32)(pixels)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    gray = (plain * luma).sum(0, keepdim=True).expand(3, -1, -1)
    transform = ImageTransform(size=32, gray=0.25)
    torch.testing.assert_close(transform(pixels), plain, rtol=0, atol=0)
    without = 0
    for seed in range(200):
        made = transform(pixels, seed)
        is_gray = bool((made[0] == made[1]).all())
        torch.testing.assert_close(made, gray if is_gray else plain, rtol=0, atol=1e-5)
        without += is_gray
    assert 30 < without < 70
    for augment in ("shift", "photo"):  # the other variations of a seed stay what they are
        varied = ImageTransform(size=32, augment=augment)(pixels, 5)
        colourless = ImageTransform(size=32, augment=augment, gray=1.0)(pixels, 5)
        expected = (varied * luma).sum(0, keepdim=True).expand(3, -1, -1)
        torch.testing.assert_close(colourless, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("fit", "augment"), [*itertools.product(FITS, AUGMENTS)])
def test_any_size_works(fit: str, augment: str) -> None:
    transform = ImageTransform(size=16, fit=fit, augment=augment)
    for height, width in ((1, 1), (1, 200), (200, 1), (3, 7), (17, 16), (300, 211)):
        for seed in (None, 0, 1, -5, 2**70):
            made = transform(np.full((height, width, 3), 255, np.uint8), seed)
            assert made.shape == (3, 16, 16)
            assert made.isfinite().all()
            assert made.max() > 0
            box = transform.place((0.1, 0.2, 0.9, 0.8), width, height, seed)
            assert all(0 <= edge <= 1 for edge in box)
            assert box[0] <= box[2]
            assert box[1] <= box[3]


def test_what_it_is_given_is_left_alone() -> None:
    pixels = noise(20, 20)
    before = pixels.copy()
    made = ImageTransform(size=20, augment="photo")(pixels, 1)
    made.zero_()
    np.testing.assert_array_equal(pixels, before)
    frozen = noise(20, 20)
    frozen.setflags(write=False)
    assert ImageTransform(size=20)(frozen).shape == (
        3,
        20,
        20,
    )  # torch would warn about memory it may not write to


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": 0}, "size must be at least 1 pixel"),
        ({"size": 8, "std": (0.5, 0.0, 0.5)}, "std must be more than 0 for each channel"),
        ({"size": 8, "fit": "stretch"}, "fit must be pad, crop or squash.*stretch"),
        ({"size": 8, "gray": 1.5}, "gray must be from 0 to 1.*1.5"),
        (
            {"size": 8, "resize_to": 9},
            "resize_to requires fit crop, or squash with exact.*9 with fit 'pad'",
        ),
        ({"size": 8, "margin": "up"}, "margin must be down or nearest.*up"),
        ({"size": 8, "fit": "crop", "resize_to": 7}, "resize_to must be at least the size, 8 pixels.*7"),
        ({"size": 8, "resample": "nearest"}, "resample: bicubic, bilinear, lanczos.*nearest"),
        ({"size": 8, "resample": "lanczos"}, "resample: lanczos requires exact"),
        ({"size": 8, "augment": "wild"}, "augment must be none, shift or photo.*wild"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageTransform(**values)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(("fit", "resize_to"), [("pad", 0), ("crop", 0), ("crop", 40), ("squash", 0)])
def test_the_two_halves_make_the_whole(fit: str, resize_to: int, exact: bool) -> None:
    transform = ImageTransform(size=32, fit=fit, resize_to=resize_to, exact=exact, mean=(0.1, 0.2, 0.3))
    for height, width in ((50, 70), (70, 50), (32, 32), (9, 200), (20, 10)):
        pixels = smooth(height, width)
        for is_tile in (False, True):
            resized = transform.resize(pixels, is_tile=is_tile)
            assert resized.values.dtype == torch.uint8
            assert (resized.width, resized.height) == (width, height)
            assert torch.equal(transform.finish(resized), transform(pixels, is_tile=is_tile))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
def test_pillow_agrees_with_each_way_of_resampling(resample: str, exact: bool) -> None:
    pixels = smooth(90, 61)
    made = ImageTransform(size=24, fit="squash", resample=resample, exact=exact)(pixels) * 127.5 + 127.5
    pillow = np.asarray(Image.fromarray(pixels).resize((24, 24), Image.Resampling[resample.upper()]))
    difference = np.abs(made.numpy() - pillow.transpose(2, 0, 1)).max()
    assert difference <= (1e-4 if exact else 1.01)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("augment", AUGMENTS)
def test_a_box_is_where_its_thing_is_drawn_with_a_margin_around_the_crop(augment: str, exact: bool) -> None:
    transform = ImageTransform(size=64, fit="crop", resize_to=80, exact=exact, augment=augment, flip=True)
    for height, width in ((80, 121), (151, 100), (64, 64)):
        top, bottom, left, right = height * 3 // 8, height * 5 // 8, width * 3 // 8, width // 2
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[top:bottom, left:right] = 255
        for seed in (None, *range(10)):
            square = transform(pixels, seed)[0]
            box = transform.place(
                (left / width, top / height, right / width, bottom / height), width, height, seed
            )
            bright = square > (square.max() + square.min()) / 2
            rows, columns = bright.any(1).nonzero(), bright.any(0).nonzero()
            drawn = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert [float(edge) for edge in drawn] == pytest.approx([64 * edge for edge in box], abs=1.5)


def test_a_margin_is_cut_off_around_the_crop() -> None:
    pixels = noise(40, 48)
    made = ImageTransform(size=32, fit="crop", resize_to=40)(pixels)
    torch.testing.assert_close(made, ImageTransform(size=32)(pixels[4:36, 8:40]), rtol=0, atol=0)


@pytest.mark.parametrize("spare", range(12))
def test_half_a_pixel_of_a_margin_is_rounded_as_asked(spare: int) -> None:
    """torchvision's center_crop begins at int(round((height - size) / 2)), Transformers' at (height - size) // 2."""
    pixels = noise(40 + spare, 40)
    down, nearest = (
        ImageTransform(size=40, fit="crop", exact=True, margin=margin)(pixels)
        for margin in ("down", "nearest")
    )
    whole = ImageTransform(size=40, exact=True)
    first, other = spare // 2, round(spare / 2)
    assert torch.equal(down, whole(pixels[first : first + 40]))
    assert torch.equal(nearest, whole(pixels[other : other + 40]))
    config = Config(size=40, fit="crop", exact=True, margin="nearest")
    assert torch.equal(config.build()(pixels), nearest)


def test_what_may_not_be_mirrored_is_varied_as_before_otherwise() -> None:
    pixels = smooth(32, 32)
    flips = ImageTransform(size=32, flip=True, augment="photo")
    still = ImageTransform(size=32, augment="photo")
    for seed in range(20):
        assert torch.equal(flips(pixels, seed, may_flip=False), still(pixels, seed))
        box = (0.1, 0.2, 0.4, 0.5)
        assert flips.place(box, 32, 32, seed, may_flip=False) == still.place(box, 32, 32, seed)


@pytest.mark.parametrize(
    "text",
    [
        "Left of it",
        "the right-hand door",
        "the leftmost",
        "der linke Ball",
        "links davon",
        "auf der rechten Seite",
        "\u00e0 gauche",
        "la porte droite",
        "a la izquierda",
        "La derecha",
        "a sinistra",
        "destra",
        "\u00e0 esquerda",
        "direita",
        "\u7403\u5728\u5de6\u8fb9",
        "\u53f3",
    ],
)
def test_texts_that_name_a_side(text: str) -> None:
    assert names_side(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a bright ball",
        "cleft",
        "the linked list",
        "above and below",
        "adroit",
        "\u4e0a\u9762",
        "ein Rechteck",
    ],
)
def test_texts_that_name_none(text: str) -> None:
    assert not names_side(text)


def test_config_builds_and_refuses_what_it_does_not_know() -> None:
    assert Config(size=32, fit="crop", flip=True).build().fit == "crop"
    with pytest.raises(RecipeError, match="fitt"):
        build(Config, {"size": 32, "fitt": "pad"})
