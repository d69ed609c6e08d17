"""Every kind of picture file comes out as the same uint8 H W 3."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files
from sightweave.data.inputs.image_files import Limits


def photo(width: int = 60, height: int = 40) -> Image.Image:
    """A smooth picture whose four corners differ, so that every turn shows."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [
        x * 255 // max(1, width - 1),
        y * 255 // max(1, height - 1),
        (x + y) * 200 // (width + height),
    ]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def load(source: object, **options: object) -> np.ndarray:
    return image_files.load(Medium(source=source, key="test"), **options)


def probe(source: object, **options: object) -> object:
    return image_files.probe(Medium(source=source, key="test"), **options)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "JPEG"])
def test_four_formats_from_bytes_and_from_files(form: str, tmp_path: Path) -> None:
    image = photo()
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(image, form, **options)
    path = tmp_path / "a picture.bin"  # the name does not matter
    path.write_bytes(data)
    pixels = load(path)
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, load(data))
    assert (
        np.abs(pixels.astype(int) - np.asarray(image)).max()
        <= {"PNG": 0, "WEBP": 0, "GIF": 40, "JPEG": 24}[form]
    )
    info = probe(path)
    assert (info.width, info.height, info.format, info.frames) == (60, 40, form, 1)
    assert probe(data) == info


def test_cmyk_jpeg_with_and_without_adobes_mark() -> None:
    inks = photo().convert("CMYK")
    adobe = encoded(inks, "JPEG", quality=100, subsampling=0)
    start = adobe.index(b"\xff\xee")
    assert adobe[start + 4 : start + 9] == b"Adobe"
    length = struct.unpack(">H", adobe[start + 2 : start + 4])[0]
    expected = np.asarray(inks.convert("RGB")).astype(int)
    assert np.abs(load(adobe) - expected).max() <= 6
    # Without the mark the values are stored as they are; Pillow writes them inverted, so they are inverted first.
    plain = encoded(Image.fromarray(255 - np.asarray(inks), "CMYK"), "JPEG", quality=100, subsampling=0)
    plain = plain[:start] + plain[start + 2 + length :]
    assert probe(plain).mode == "CMYK"
    assert np.abs(load(plain) - expected).max() <= 6


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    pixels = load(encoded(Image.fromarray(values), "PNG"))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (pixels == pixels[..., :1]).all()


def rgb16_png(values: np.ndarray) -> bytes:
    """A 16-bit RGB PNG, which Pillow cannot write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_sixteen_bit_colours() -> None:
    values = np.array([[[0, 257, 65535], [128 * 257, 0, 255 * 257]]], np.uint16)
    assert load(rgb16_png(values)).tolist() == [[[0, 1, 255], [128, 0, 255]]]


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_one_bit_and_palette(mode: str) -> None:
    image = photo().convert(mode)
    np.testing.assert_array_equal(load(encoded(image, "PNG")), np.asarray(image.convert("RGB")))


def test_transparent_pixels_are_white_and_hidden_colours_are_not_seen() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[0, 0, 3], pixels[1, 1, 3] = 255, 51
    expected = [[[200, 0, 0], [255, 255, 255]], [[255, 255, 255], [244, 204, 204]]]
    assert load(encoded(Image.fromarray(pixels), "PNG")).tolist() == expected
    assert load(pixels).tolist() == expected
    assert load(Image.fromarray(pixels)).tolist() == expected
    grey = np.array([[[10, 255], [10, 0]]], np.uint8)
    assert load(encoded(Image.fromarray(grey, "LA"), "PNG")).tolist() == [[[10] * 3, [255] * 3]]


def test_palette_with_a_transparent_colour_and_with_partial_alpha() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    assert load(encoded(image, "PNG", transparency=1)).tolist() == [
        [[255, 0, 0], [255, 255, 255], [0, 0, 255]]
    ]
    partial = load(encoded(image, "PNG", transparency=bytes([255, 0, 51])))
    assert partial.tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 255]]]
    assert load(encoded(image, "GIF", transparency=0)).tolist()[0][0] == [255, 255, 255]


def test_a_transparent_colour_in_rgb_grey_and_sixteen_bits() -> None:
    image = Image.fromarray(np.array([[[1, 2, 3], [9, 9, 9]]], np.uint8))
    assert load(encoded(image, "PNG", transparency=(1, 2, 3))).tolist() == [[[255] * 3, [9] * 3]]
    grey = Image.fromarray(np.array([[1, 9]], np.uint8))
    assert load(encoded(grey, "PNG", transparency=1)).tolist() == [[[255] * 3, [9] * 3]]
    deep = Image.fromarray(np.array([[257, 514]], np.uint16))
    assert load(encoded(deep, "PNG", transparency=257)).tolist() == [[[255] * 3, [2] * 3]]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(form: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=50, **options)
    assert load(data)[5, 10].tolist() == [255, 0, 0]
    assert probe(data).frames == {"GIF": 2, "WEBP": 3, "PNG": 3}[form]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 10))
def test_exif_rotation(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(), form, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    pixels, info = load(data), probe(data)
    np.testing.assert_array_equal(pixels, np.asarray(upright))
    assert (info.height, info.width) == pixels.shape[:2]
    assert pixels.shape[:2] == ((60, 40) if 5 <= orientation <= 8 else (40, 60))


def test_exif_rotation_of_a_pillow_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encoded(photo(), "PNG", exif=exif)))
    assert load(image).shape == (60, 40, 3)
    assert probe(image).height == 60
    assert load(ImageOps.exif_transpose(image)).shape == (60, 40, 3)


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 200])
def test_damaged_exif_is_ignored(exif: bytes) -> None:
    data = encoded(photo(), "JPEG", exif=exif)
    assert load(data).shape == probe_shape(data) == (40, 60, 3)


def probe_shape(data: bytes) -> tuple[int, int, int]:
    info = probe(data)
    return info.height, info.width, 3


def test_draft_only_where_a_size_is_asked_for() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(photo(640, 480), "JPEG", exif=exif)
    assert load(data).shape == (640, 480, 3)
    small = load(data, size_hint=(100, 150))  # 480 / 4 = 120 and 640 / 4 = 160 still cover it
    assert small.shape == (160, 120, 3)
    assert load(encoded(photo(640, 480), "PNG"), size_hint=(100, 150)).shape == (480, 640, 3)
    assert load(data, size_hint=(4000, 4000)).shape == (640, 480, 3)


def test_arrays_by_clear_rules() -> None:
    rgb = np.asarray(photo())
    np.testing.assert_array_equal(load(rgb), rgb)
    np.testing.assert_array_equal(load(lambda: rgb), rgb)
    np.testing.assert_array_equal(load(rgb[:, ::-1]), rgb[:, ::-1])
    np.testing.assert_array_equal(load((rgb / 255).astype(np.float32)), rgb)
    np.testing.assert_array_equal(load(rgb.astype(np.uint16) * 257), rgb)
    np.testing.assert_array_equal(load(rgb[..., 0]), np.repeat(rgb[..., :1], 3, 2))
    np.testing.assert_array_equal(load(rgb[..., :1]), np.repeat(rgb[..., :1], 3, 2))
    assert load(np.zeros((1, 1, 3), np.uint8)).shape == (1, 1, 3)
    assert load(np.zeros((3, 7), np.uint8)).shape == (3, 7, 3)
    assert load(np.zeros((4, 4, 1), np.uint8)).shape == (4, 4, 3)
    info = probe(lambda: rgb)
    assert (info.width, info.height, info.format) == (60, 40, "ARRAY")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((4, 5, 3), 200.0), "floats must be in 0 to 1; scale them, or pass uint8.*float64.*200"),
        (np.full((4, 5, 3), -0.5), "floats must be in 0 to 1; scale them, or pass uint8"),
        (np.full((4, 5, 3), np.nan), "NaN"),
        (np.full((4, 5, 3), np.inf), "infinity"),
        (np.full((4, 5, 3), 200, np.uint16), "8 or 16 bits.*uint16"),
        (np.zeros((4, 5, 3), np.int64), "uint8.*int64"),
        (np.zeros((4, 5), bool), "uint8.*bool"),
        (np.zeros((3, 40, 50), np.uint8), r"transpose\(1, 2, 0\).*\(3, 40, 50\)"),
        (np.zeros((3, 40, 3), np.uint8), "C H W and H W C cannot be distinguished; pass a Pillow image"),
        (np.zeros((40, 50, 7), np.uint8), "1 to 4 channels"),
        (np.zeros((1, 40, 50, 3), np.uint8), "H W or H W C"),
        (np.zeros((0, 5, 3), np.uint8), "at least one pixel.*none"),
        (np.array([["a"]]), "H W|uint8"),
    ],
)
def test_unclear_arrays_are_refused_with_type_shape_and_range(array: np.ndarray, words: str) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        load(array)
    assert caught.value.code == "image_array"
    assert "dtype" in str(caught.value)


@pytest.mark.parametrize("source", ["a.png", 3, None, ["x"], io.BytesIO(b"x")])
def test_other_sources_are_refused_by_their_type(source: object) -> None:
    with pytest.raises(MediaError, match=f"pathlib.Path.*{type(source).__name__}") as caught:
        load(source)
    assert caught.value.code == "image_source"
    assert "0x" not in str(caught.value)


def test_pillow_images_without_a_fixed_range_and_closed_ones() -> None:
    for mode in ("I", "F"):
        with pytest.raises(MediaError, match=f"mode '{mode}' has no fixed value range") as caught:
            load(Image.new(mode, (3, 3)))
        assert caught.value.code == "image_mode"
    image = Image.open(io.BytesIO(encoded(photo(), "PNG")))
    image.close()
    with pytest.raises(MediaError, match="closed") as caught:
        load(image)
    assert caught.value.code == "image_unreadable"


def test_callers_image_is_left_open() -> None:
    image = Image.open(io.BytesIO(encoded(photo(), "PNG")))
    np.testing.assert_array_equal(load(image), load(image))
    assert image.getpixel((0, 0)) == (0, 0, 0)


def test_limits_are_exact() -> None:
    at, over = encoded(photo(60, 40), "PNG"), encoded(photo(61, 40), "PNG")
    limits = Limits(max_pixels=2400, max_bytes=len(at))
    assert load(at, limits=limits).shape == (40, 60, 3)
    with pytest.raises(MediaError, match=r"61 x 40 = 2440 pixels; the maximum is 2400") as caught:
        load(over, limits=Limits(max_pixels=2400))
    assert caught.value.code == "image_too_large"
    with pytest.raises(MediaError, match=f"{len(at)} bytes; the maximum is {len(at) - 1}") as caught:
        load(at, limits=Limits(max_bytes=len(at) - 1))
    assert caught.value.code == "image_too_large"
    for source in (np.zeros((40, 61, 3), np.uint8), photo(61, 40)):
        with pytest.raises(MediaError, match="2440 pixels"):
            load(source, limits=Limits(max_pixels=2400))


@pytest.mark.parametrize("size", [(1, 201), (201, 1), (10000, 1)])
def test_aspect_over_200_is_refused(size: tuple[int, int]) -> None:
    data = encoded(Image.new("RGB", size), "PNG")
    for read in (load, probe):
        with pytest.raises(MediaError, match=f"{size[0]} x {size[1]} pixels; the longer side") as caught:
            read(data)
        assert caught.value.code == "image_aspect_ratio"
    assert load(encoded(Image.new("RGB", (200, 1)), "PNG")).shape == (1, 200, 3)


def test_digest_is_of_the_file_or_of_the_pixels(tmp_path: Path) -> None:
    data = encoded(photo(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    by_bytes = image_files.digest(Medium(source=data, key="b"))
    assert image_files.digest(Medium(source=tmp_path / "a.png", key="a")) == by_bytes
    assert len(by_bytes) == 64
    tall, wide = (
        image_files.digest(Medium(source=np.zeros(shape, np.uint8), key="x"))
        for shape in ((30, 10), (10, 30))
    )
    assert tall != wide


def test_threads_do_not_disturb_one_another() -> None:
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0" + b"\xff" * 40)
    expected, wrong = load(data), []

    def work() -> None:
        for _ in range(30):
            if not np.array_equal(load(data), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def examine(source: object, **options: object) -> image_files.Examined:
    return image_files.examine(Medium(source=source, key="test"), **options)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "JPEG"])
def test_examine_is_probe_and_digest_and_load_in_one(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(encoded(photo(), form))
    seen, medium = examine(path), Medium(path, "test")
    assert seen.info == image_files.probe(medium)
    assert seen.digest == image_files.digest(medium)
    assert seen.bytes == path.stat().st_size
    np.testing.assert_array_equal(seen.pixels, image_files.load(medium))
    flags = [seen.has_location, seen.has_orientation, seen.extension_lies, seen.is_sixteen_bit]
    assert flags == [False] * 4


def test_examine_at_a_reduced_scale_says_the_true_size() -> None:
    data = encoded(photo(640, 480), "JPEG", exif=exif_with(6))
    seen = examine(data, size_hint=(32, 32))
    assert (seen.info.width, seen.info.height) == (480, 640)
    assert seen.pixels.shape == (80, 60, 3)
    np.testing.assert_array_equal(seen.pixels, load(data, size_hint=(32, 32)))
    assert seen.has_orientation


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_examine_finds_where_a_picture_was_taken(form: str) -> None:
    exif = exif_with(1)
    exif.get_ifd(0x8825)[1] = "N"
    assert examine(encoded(photo(), form, exif=exif)).has_location
    assert not examine(encoded(photo(), form, exif=exif_with(1))).has_location
    assert not examine(encoded(photo(), form, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).has_location


def test_examine_sees_sixteen_bits_and_animations() -> None:
    assert examine(rgb16_png(np.full((4, 5, 3), 40000, np.uint16))).is_sixteen_bit
    assert examine(encoded(Image.fromarray(np.full((4, 5), 40000, np.uint16)), "PNG")).is_sixteen_bit
    frames = encoded(photo(), "GIF", save_all=True, append_images=[Image.new("RGB", (60, 40), "red")])
    assert examine(frames).info.frames == 2


@pytest.mark.parametrize(("name", "lies"), [("a.png", False), ("a.JPG", True), ("a.tif", True), ("a", False)])
def test_examine_compares_name_and_contents(name: str, lies: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded(photo(), "PNG"))
    assert examine(tmp_path / name).extension_lies == lies


def test_examine_of_arrays_and_functions() -> None:
    pixels = np.asarray(photo())
    for source in (pixels, lambda: pixels, photo()):
        seen = examine(source)
        assert (seen.info.width, seen.info.height, seen.info.format) == (60, 40, "ARRAY")
        assert seen.digest == image_files.digest(Medium(source, "test"))
        assert seen.bytes == pixels.nbytes
    assert examine(lambda: encoded(photo(), "PNG")).info.format == "PNG"


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "JPEG"])
def test_examine_refuses_what_load_refuses(form: str) -> None:
    data = encoded(photo(200, 100), form)
    random = np.random.default_rng(0)
    cuts = [data[: int(len(data) * share)] for share in (0, 0.01, 0.25, 0.5, 0.99)]
    for _ in range(100):
        bad = bytearray(data)
        for place in random.integers(0, len(data), 3):
            bad[place] ^= int(random.integers(1, 256))
        cuts.append(bytes(bad))
    for bad in cuts:
        assert outcome(examine, bad) == outcome(load, bad)


def outcome(function: object, data: bytes) -> str:
    try:
        function(data, size_hint=(32, 32))
    except MediaError as error:
        return error.code
    return "sound"


def test_a_picture_keeps_its_mode_and_is_upright(tmp_path: Path) -> None:
    plain = np.arange(12 * 8 * 3, dtype=np.uint8).reshape(12, 8, 3)
    for mode in ("L", "P", "RGBA", "I;16"):
        given = Image.fromarray(plain).convert("L" if mode == "I;16" else mode)
        if mode == "I;16":
            given = Image.frombytes(mode, (8, 12), np.arange(96, dtype="<u2").tobytes())
        given.save(tmp_path / "a.png")
        for source in (tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), given):
            found = image_files.picture(Medium(source, "a"))
            assert (found.mode, found.size) == (mode, (8, 12))
            assert found.tobytes() == given.tobytes()
    assert image_files.picture(Medium(plain, "a")).tobytes() == plain.tobytes()

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(plain).save(tmp_path / "turned.png", exif=exif)
    turned = image_files.picture(Medium(tmp_path / "turned.png", "a"))
    assert np.array_equal(np.asarray(turned), image_files.load(Medium(tmp_path / "turned.png", "a")))
    assert turned.size == (12, 8)


def test_a_picture_that_cannot_be_read_has_the_same_faults(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for source in (whole[:2000], b"nothing", b"", tmp_path / "none.png"):
        with pytest.raises(MediaError) as expected:
            image_files.load(Medium(source, "a"))
        with pytest.raises(MediaError) as found:
            image_files.picture(Medium(source, "a"))
        assert found.value.code == expected.value.code
    with pytest.raises(MediaError, match="1600 pixels; the maximum is 100"):
        image_files.picture(Medium(whole, "a"), image_files.Limits(max_pixels=100))
