"""Near-duplicates of drawn scenes, which are hard: few things on plain grounds."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from sightweave.data.scenes import drawing
from sightweave.data.scenes.layout import make_scene
from sightweave.programs.doctor.hashing import FINGERPRINT_BYTES, Duplicates, fingerprint, perceptual_hash


def scene(index: int) -> Image.Image:
    return Image.fromarray(drawing.draw(make_scene(0, "train", index)))


def resized(image: Image.Image) -> Image.Image:
    return image.resize((58, 58), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return Image.open(file)


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.15)


def darker(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.85)


CHANGES = (resized, jpeg, brighter, darker)


def seen(image: Image.Image) -> bytes:
    return fingerprint(np.asarray(image.convert("RGB")))


def collected(images: list[Image.Image]) -> Duplicates:
    found = Duplicates()
    for number, image in enumerate(images):
        found.add(number, seen(image))
    return found


def check_recall_and_false_merges(count: int) -> None:
    originals = Duplicates()
    changed = [Duplicates() for _ in CHANGES]
    for index in range(count):
        image = scene(index)
        originals.add(index, seen(image))
        for change, found in zip(CHANGES, changed, strict=True):
            found.add(index, seen(change(image)))
    assert sum(map(len, originals.groups())) < 0.001 * count
    for found in changed:
        pairs = originals.across(found)
        assert sum(mine == theirs for mine, theirs in pairs) >= 0.95 * count
        assert sum(mine != theirs for mine, theirs in pairs) <= 0.001 * count


def test_recall_and_false_merges_of_scenes() -> None:
    check_recall_and_false_merges(1000)


@pytest.mark.slow
def test_recall_and_false_merges_of_ten_thousand_scenes() -> None:
    check_recall_and_false_merges(10_000)


def test_groups_hold_the_copies_of_each_scene() -> None:
    images = [change(scene(index)) for index in range(40) for change in (lambda x: x, resized, jpeg, darker)]
    groups = collected(images).groups()
    assert sum(map(len, groups)) >= 0.95 * len(images)
    assert all(len({number // 4 for number in group}) == 1 for group in groups)
    assert groups == sorted(groups, key=lambda group: (-len(group), group))


def test_a_chain_of_small_steps_is_cut() -> None:
    """Each picture is near the next; the first and the last are different pictures."""
    images = []
    for step in range(40):
        pixels = np.full((96, 96, 3), 230, np.uint8)
        pixels[40:60, step : step + 40] = (200, 30, 30)
        images.append(Image.fromarray(pixels))
    groups = collected(images).groups()
    assert groups
    assert max(map(len, groups)) < 25


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ((255, 255, 255), (255, 255, 255), True),
        ((255, 255, 255), (235, 235, 235), False),
        ((0, 0, 0), (200, 0, 0), False),
        ((200, 0, 0), (0, 200, 0), False),
    ],
)
def test_plain_pictures_are_told_by_their_colour(
    first: tuple[int, ...], second: tuple[int, ...], alike: bool
) -> None:
    images = [Image.new("RGB", (50, 40), color) for color in (first, second)]
    assert perceptual_hash(np.asarray(images[0])) == 0
    assert collected(images).groups() == ([(0, 1)] if alike else [])


def test_the_same_things_in_other_colours_are_other_pictures() -> None:
    images = []
    for color in ((200, 30, 30), (30, 140, 200)):
        pixels = np.full((96, 96, 3), 240, np.uint8)
        pixels[30:70, 30:70] = color
        images.append(Image.fromarray(pixels))
    assert collected(images).groups() == []


def test_crowds_of_equal_pictures_are_one_group() -> None:
    found, data = Duplicates(), seen(scene(0))
    for number in range(5000):
        found.add(number, data)
    assert found.groups() == [tuple(range(5000))]
    assert found.across(found) == [(0, number) for number in range(5000)]


def test_overlap_names_numbers_of_both_sides() -> None:
    train, test = Duplicates(), Duplicates()
    for index in range(20):
        train.add(1000 + index, seen(scene(index)))
    for place, index in enumerate((50, 7, 51, 12)):
        test.add(place, seen(jpeg(scene(index))))
    assert train.across(test) == [(1007, 1), (1012, 3)]
    assert train.across(Duplicates()) == Duplicates().across(train) == []
    assert Duplicates().groups() == []
    assert len(train) == 20


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (31, 33, 3), (600, 400, 3)])
def test_any_size_has_a_fingerprint(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert len(fingerprint(pixels)) == FINGERPRINT_BYTES
    assert int.from_bytes(fingerprint(pixels)[:8], "big") == perceptual_hash(pixels)


@pytest.mark.parametrize(
    ("number", "data", "words"),
    [(0, b"123", "72 bytes .got 3."), (-1, bytes(72), "got -1"), (1 << 32, bytes(72), "got 4294967296")],
)
def test_wrong_fingerprints_and_numbers_are_refused(number: int, data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Duplicates().add(number, data)


def test_across_prefers_the_nearer_of_two() -> None:
    train = collected([darker(scene(3)), scene(3)])
    assert train.across(collected([scene(3)])) == [(1, 0)]
