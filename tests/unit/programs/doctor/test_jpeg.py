"""Tags are cut out of JPEG files; pixels and turning stay."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sightweave.core.types import Medium
from sightweave.data.inputs import image_files
from sightweave.programs.doctor.jpeg import without_tags


def file(orientation: int = 1, *, order: str = "II", place: bool = True, name: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif.endian = "<" if order == "II" else ">"
    exif[0x010F] = "a camera's maker"
    if orientation != 1:
        exif[0x0112] = orientation
    if place:
        exif.get_ifd(0x8825)[1] = "N"
        exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.0)
    stream = io.BytesIO()
    options = {"xmp": b"<x:xmpmeta>place</x:xmpmeta>"} if name == "JPEG" else {}
    Image.fromarray(pixels).save(stream, name, exif=exif, **options)
    return stream.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["II", "MM"])
def test_place_and_maker_go_and_pixels_and_turning_stay(orientation: int, order: str) -> None:
    data = file(orientation, order=order)
    clean = without_tags(data)
    assert b"camera" in data
    assert b"camera" not in clean
    assert b"xmpmeta" not in clean
    before, after = image_files.examine(Medium(data, "x")), image_files.examine(Medium(clean, "x"))
    assert (before.has_location, after.has_location) == (True, False)
    assert after.has_orientation == (orientation != 1)
    np.testing.assert_array_equal(before.pixels, after.pixels)
    with Image.open(io.BytesIO(clean)) as image:
        assert dict(image.getexif()) == ({0x0112: orientation} if orientation != 1 else {})


def test_other_files_and_damaged_ones_are_left_or_cut_without_fail() -> None:
    png = file(name="PNG")
    assert without_tags(png) == png
    assert without_tags(b"") == b""
    whole = file(6)
    for end in range(len(whole)):
        assert len(without_tags(whole[:end])) <= end + 40
    plain = without_tags(whole)
    assert without_tags(plain) == plain
