"""Damaged, hostile and misnamed picture files: one clear error each, fast, and with nothing inside it to exploit."""

from __future__ import annotations

import gzip
import io
import os
import random
import re
import resource
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")


def noise(side: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def encoded(form: str, image: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (image or noise()).save(file, form, **options)
    return file.getvalue()


def refused(source: object) -> MediaError:
    """The error of loading; its text holds no address, no path of a library and no traceback."""
    with pytest.raises(MediaError) as caught:
        image_files.load(Medium(source=source, key="test"))
    assert not re.search(r"0x[0-9a-f]{6,}|/usr/|Traceback|site-packages|BytesIO", str(caught.value))
    return caught.value


def outcome(data: bytes) -> tuple[np.ndarray | None, MediaError | None]:
    try:
        return image_files.load(Medium(source=data, key="k")), None
    except MediaError as error:
        return None, error


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IEND", b"")


def test_no_bytes_at_all(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    assert refused(path).code == refused(b"").code == "image_empty"
    with pytest.raises(MediaError, match=r"empty\.jpg.: the file is empty"):
        image_files.probe(Medium(source=path, key="k"))


@pytest.mark.parametrize(
    "data",
    [b"\xff", b"\x00", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x10\0\0\0WEBP", b"hello"],
)
def test_one_byte_or_only_the_magic(data: bytes) -> None:
    assert refused(data).code == "image_corrupt"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("percent", [25, 50, 99])
def test_truncated(form: str, percent: int, tmp_path: Path) -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    data = encoded(form)
    path = tmp_path / f"cut.{form.lower()}"
    path.write_bytes(data[: len(data) * percent // 100])
    error = refused(path)
    assert error.code in ("image_truncated", "image_corrupt")
    assert "cut." in str(error)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("form", FORMATS)
def test_a_cut_anywhere_is_an_error_or_the_whole_picture(form: str) -> None:
    data = encoded(form, noise(24))
    whole = image_files.load(Medium(source=data, key="k"))
    for length in range(1, len(data), 7):
        pixels, error = outcome(data[:length])
        if error is None:
            np.testing.assert_array_equal(pixels, whole)
        else:
            assert error.code in ("image_truncated", "image_corrupt", "image_unsupported_format")


@pytest.mark.parametrize("form", FORMATS)
def test_flipped_bytes_never_crash(form: str) -> None:
    data = encoded(form, noise(24))
    draw = random.Random(form)
    for _ in range(250):
        broken = bytearray(data)
        for _ in range(draw.randint(1, 5)):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        pixels, error = outcome(bytes(broken))
        if error is None:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
        else:
            assert not re.search(r"0x[0-9a-f]{6,}", str(error))


def test_png_with_a_wrong_checksum() -> None:
    data = bytearray(encoded("PNG"))
    data[data.index(b"IDAT") + 50] ^= 1
    assert refused(bytes(data)).code == "image_corrupt"


@pytest.mark.parametrize("side", [40_000, 2**31 - 1, 9_000])
def test_a_bomb_is_refused_from_its_header(side: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, chunk(b"IDAT", b"\x78\x9c" + b"\0" * 5_000_000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        error = refused(path)
        with pytest.raises(MediaError, match="pixels; the maximum is 40000000"):
            image_files.probe(Medium(source=path, key="k"))
    assert error.code == "image_too_large"
    assert str(side * side) in str(error)
    assert not said
    assert time.perf_counter() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB


def test_webp_and_gif_bombs() -> None:
    still = encoded("WEBP", noise(8))
    canvas = (16_383 - 1).to_bytes(3, "little") * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas + still[12:]
    assert refused(b"RIFF" + struct.pack("<I", len(body)) + body).code in ("image_too_large", "image_corrupt")
    gif = bytearray(encoded("GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    assert refused(bytes(gif)).code == "image_too_large"


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (0, 0)])
def test_no_width_or_no_height(size: tuple[int, int]) -> None:
    assert refused(png(*size, chunk(b"IDAT", zlib.compress(b"")))).code == "image_corrupt"


def test_compressed_text_bomb() -> None:
    start = time.perf_counter()
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 50_000_000, 9))
    assert (
        refused(png(8, 8, *[text] * 20, chunk(b"IDAT", zlib.compress(b"\0" * 200)))).code == "image_corrupt"
    )
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize(
    "form", ["BMP", "TIFF", "ICO", "EPS", "PDF", "JPEG2000", "AVIF", "PPM", "TGA", "PCX", "DDS"]
)
def test_other_formats_under_a_wrong_name_are_refused_by_what_they_are(form: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(form))
    error = refused(path)
    assert error.code == "image_unsupported_format"
    assert re.search(r"JPEG, PNG, WEBP, GIF", str(error))
    known = {"JPEG2000": "JPEG 2000"}.get(form, form)
    assert known in str(error) or form in ("PPM", "TGA", "PCX", "DDS")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>', "SVG"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
        (b'{"error": "not found", "code": 404}', "JSON"),
        (b"PK\x03\x04" + b"\0" * 40, "ZIP"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, "HEIC"),
        (b"SIMPLE  =                    T" + b" " * 50, "FITS"),
        (b"8BPS\0\1" + b"\0" * 40, "PSD"),
        (b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ", "not an image"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, name: str) -> None:
    error = refused(data)
    assert error.code == "image_unsupported_format"
    assert name in str(error)
    assert refused(gzip.compress(data)).code == "image_unsupported_format"


def test_only_four_parsers_are_ever_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = Image.open

    def watched(*args: object, **kwargs: object) -> Image.Image:
        seen.append(kwargs["formats"])
        return real(*args, **kwargs)

    monkeypatch.setattr(Image, "open", watched)  # Pillow's, to see how it is asked
    refused(encoded("BMP"))
    image_files.load(Medium(source=encoded("PNG"), key="k"))
    assert seen == [FORMATS, FORMATS]


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded("PNG"))
    np.testing.assert_array_equal(image_files.load(Medium(source=path, key="k")), np.asarray(noise()))
    assert image_files.probe(Medium(source=path, key="k")).format == "PNG"


@pytest.mark.parametrize("form", FORMATS)
def test_what_follows_the_end_is_ignored(form: str) -> None:
    data = encoded(form)
    whole = image_files.load(Medium(source=data, key="k"))
    for tail in (b"garbage" * 100, b"PK\x03\x04", data):
        np.testing.assert_array_equal(image_files.load(Medium(source=data + tail, key="k")), whole)


def test_a_jpeg_of_very_many_scans() -> None:
    data = encoded("JPEG", progressive=True)
    assert image_files.load(Medium(source=data, key="k")).shape == (64, 64, 3)
    start = data.index(b"\xff\xda")
    bomb = data[:start] + data[start:-2] * 200 + b"\xff\xd9"
    began = time.perf_counter()
    with pytest.raises(MediaError, match="scans in a JPEG; the maximum is 100") as caught:
        image_files.load(Medium(source=bomb, key="k"))
    assert caught.value.code == "image_corrupt"
    assert time.perf_counter() - began < 1


def test_a_gif_of_very_many_frames_costs_only_the_first() -> None:
    frames = [Image.new("P", (2, 2), i % 2) for i in range(2)]
    data = encoded("GIF", frames[0], save_all=True, append_images=frames[1:], duration=50, optimize=False)
    frame = data[data.rindex(b"\x21\xf9") : -1]
    began = time.perf_counter()
    long = data[:-1] + frame * 100_000 + b";"
    assert image_files.probe(Medium(source=long, key="k")).frames == 2
    assert image_files.load(Medium(source=long, key="k")).shape == (2, 2, 3)
    assert time.perf_counter() - began < 1


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    start = time.perf_counter()
    for path in (tmp_path, tmp_path / "pipe.png", Path("/dev/zero"), Path("/dev/null")):
        error = refused(path)
        assert error.code == "image_not_a_file"
        assert repr(str(path)) in str(error)
        with pytest.raises(MediaError):
            image_files.probe(Medium(source=path, key="k"))
    assert time.perf_counter() - start < 1


def test_missing_and_impossible_names(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.png").code == "image_missing"
    assert "file not found" in str(refused(tmp_path / "none.png"))
    assert refused(tmp_path / ("x" * 300)).code == "image_unreadable"
    assert refused(tmp_path / "a\0b").code == "image_unreadable"
    (tmp_path / "loop").symlink_to("loop")
    assert refused(tmp_path / "loop").code == "image_unreadable"
    line = refused(tmp_path / "two\nlines.png")
    assert "\n" not in str(line)


@pytest.mark.parametrize(
    "name", ["\u72d7\U0001f436.png", "\u05db\u05dc\u05d1.png", "a b'c\"d.png", "x" * 250]
)
def test_any_file_name_works(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded("PNG"))
    assert image_files.load(Medium(source=tmp_path / name, key="k")).shape == (64, 64, 3)


def test_pillow_is_new_enough() -> None:
    """Releases before 13 overflow in the decoder of an allowed format."""
    import PIL

    assert int(PIL.__version__.split(".")[0]) >= 13
