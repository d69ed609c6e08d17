"""Pictures have the same bits with simplejpeg and without it, and files are refused with the same words."""

from __future__ import annotations

import io
import logging
import random
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files, turbo
from sightweave.data.inputs.image_files import Limits

HINTS = [(1, 1), (20, 20), (40, 25), (70, 70), (1000, 1000)]
"""An eighth, a quarter, a half and all of the pictures below."""


@pytest.fixture
def simplejpeg() -> object:
    return pytest.importorskip("simplejpeg")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Each test asks anew which decoder there is."""
    turbo._proven.cache_clear()
    yield
    turbo._proven.cache_clear()


def picture(width: int = 203, height: int = 149, seed: int = 0) -> Image.Image:
    """Slopes, edges and noise."""
    rows, columns = np.mgrid[:height, :width]
    slopes = np.stack([columns, 2 * rows, 200 - columns // 2 - rows // 3], axis=2)
    noise = np.random.default_rng(seed).integers(-40, 40, slopes.shape)
    return Image.fromarray(
        (slopes + noise + 80 * ((columns // 17) % 2)[:, :, None]).clip(0, 255).astype(np.uint8)
    )


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    stream = io.BytesIO()
    (picture() if image is None else image).save(stream, "JPEG", **options)
    return stream.getvalue()


def oriented(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return jpeg(exif=exif)


def outcome(data: bytes, hint: tuple[int, int] | None) -> object:
    """Pixels as bytes, or what the refusal says."""
    try:
        pixels = image_files.load(Medium(data, "x"), size_hint=hint)
    except MediaError as error:
        return error.code, str(error)
    return pixels.shape, pixels.tobytes()


def by_pillow(data: bytes, hint: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch) -> object:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "simplejpeg", None)  # as if it were not installed
        turbo._proven.cache_clear()
        found = outcome(data, hint)
    turbo._proven.cache_clear()
    return found


def taken(data: bytes, hint: tuple[int, int]) -> bool:
    """Whether simplejpeg decodes this file."""
    image = Image.open(io.BytesIO(data))
    full = image.size
    image.draft(None, hint)
    return turbo.decode(data, full, image.size) is not None


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("is_progressive", [False, True])
@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_every_scale_and_sampling_has_pillows_bits(
    simplejpeg: object,
    sampling: int,
    is_progressive: bool,
    hint: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for seed, (width, height) in enumerate([(203, 149), (16, 16), (160, 17), (256, 96)]):
        for quality in (40, 92):
            image = picture(width, height, seed)
            data = jpeg(image, quality=quality, subsampling=sampling, progressive=is_progressive)
            assert taken(data, hint)
            assert outcome(data, hint) == by_pillow(data, hint, monkeypatch)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_stand_upright(
    simplejpeg: object, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = oriented(orientation)
    assert taken(data, (70, 50))
    assert outcome(data, (70, 50)) == by_pillow(data, (70, 50), monkeypatch)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(picture().convert("L")),
        jpeg(picture().convert("CMYK")),
        jpeg(picture(), keep_rgb=True),
        jpeg(picture(15, 300)),
    ],
    ids=["grey", "inks", "RGB", "narrow"],
)
def test_other_kinds_are_left_to_pillow(
    simplejpeg: object, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not taken(data, (20, 20))
    assert outcome(data, (20, 20)) == by_pillow(data, (20, 20), monkeypatch)


def test_damaged_files_are_refused_or_read_just_as_by_pillow(
    simplejpeg: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(0)
    sound = [jpeg(subsampling=sampling, progressive=p) for sampling in (0, 2) for p in (False, True)]
    cut = [data[: draw.randrange(len(data))] for data in sound * 10] + [data[:-2] for data in sound]
    odd = []
    for data in sound * 40:
        changed = bytearray(data)
        for _ in range(draw.choice((1, 3))):
            changed[draw.randrange(len(data))] = draw.randrange(256)
        odd.append(bytes(changed))
    outcomes = [outcome(data, (40, 40)) for data in cut + odd]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "simplejpeg", None)
        turbo._proven.cache_clear()
        assert outcomes == [outcome(data, (40, 40)) for data in cut + odd]
    codes = {found[0] for found in outcomes if isinstance(found[0], str)}
    assert "image_truncated" in codes


def test_a_size_that_pillow_did_not_read_is_not_decoded(simplejpeg: object) -> None:
    data = jpeg()
    assert turbo.decode(data, (203, 149), (102, 75)) is not None
    assert turbo.decode(data, (20, 30), (10, 15)) is None


def test_limits_come_before_any_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(turbo, "decode", decode)
    data = jpeg()
    for limits in (Limits(max_pixels=203 * 149 - 1), Limits(max_bytes=len(data) - 1), Limits(max_aspect=1.2)):
        with pytest.raises(MediaError):
            image_files.load(Medium(data, "x"), limits, size_hint=(20, 20))
    bomb = data + b"\xff\xda" * 101
    with pytest.raises(MediaError, match="scans"):
        image_files.load(Medium(bomb, "x"), size_hint=(20, 20))


def test_whole_pictures_are_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor's pixels are promised there."""

    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(turbo, "decode", decode)
    data = jpeg()
    np.testing.assert_array_equal(
        image_files.load(Medium(data, "x")), np.asarray(Image.open(io.BytesIO(data)))
    )


def test_without_simplejpeg_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert turbo.version() is None
    assert turbo.decode(jpeg(), (203, 149), (102, 75)) is None
    assert outcome(jpeg(), (70, 70))[0] == (75, 102, 3)


def another_decoder(off_by: int) -> SimpleNamespace:
    """A library with simplejpeg's functions; it decodes by Pillow, and one value is off."""

    def decode_jpeg(data: bytes, min_height: int, min_width: int) -> np.ndarray:
        image = Image.open(io.BytesIO(data))
        image.draft(None, (min_width - 1, min_height - 1))  # which were rounded up
        pixels = np.array(image)
        pixels[0, 0, 0] ^= off_by
        return pixels

    def decode_jpeg_header(data: bytes) -> tuple[int, int, str, str]:
        width, height = Image.open(io.BytesIO(data)).size
        return height, width, "YCbCr", "420"

    return SimpleNamespace(__version__="7.7", decode_jpeg=decode_jpeg, decode_jpeg_header=decode_jpeg_header)


def test_a_decoder_with_other_bits_is_not_used_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = jpeg()
    plain = by_pillow(data, (70, 70), monkeypatch)

    monkeypatch.setitem(sys.modules, "simplejpeg", another_decoder(off_by=1))
    with caplog.at_level(logging.WARNING):
        assert [outcome(data, (70, 70)) for _ in range(3)] == [plain] * 3
    assert [record.getMessage().split(" decodes")[0] for record in caplog.records] == ["simplejpeg 7.7"]
    assert turbo.version() is None

    monkeypatch.setitem(sys.modules, "simplejpeg", another_decoder(off_by=0))
    turbo._proven.cache_clear()
    assert turbo.version() == "7.7"
    assert taken(data, (70, 70))
