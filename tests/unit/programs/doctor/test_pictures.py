"""Facts and findings of one picture."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightweave.core.types import Medium
from sightweave.data.inputs import image_files
from sightweave.programs.doctor.pictures import PictureFacts, inspect, inspect_all


def photo(width: int = 90, height: int = 60) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x * y) % 200]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def look(source: object) -> PictureFacts:
    return inspect(Medium(source=source, key="test"))


def codes(source: object) -> list[str]:
    return [finding.code for finding in look(source).findings]


def test_facts_of_a_sound_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(photo(640, 480), "JPEG"))
    facts = look(path)
    assert facts[:5] == (640, 480, "RGB", "JPEG", 1)
    assert facts.bytes == path.stat().st_size
    assert facts.digest == image_files.digest(Medium(path, "x"))
    assert len(bytes.fromhex(facts.fingerprint)) == 72
    assert facts.findings == ()


def test_several_pictures_have_the_facts_of_each_in_their_order() -> None:
    sources = [
        encoded(photo(640, 480), "JPEG"),
        encoded(photo(640, 480), "JPEG")[:3000],
        encoded(photo(700, 500)),  # a PNG: too many pixels to wait for the others
        b"no picture",
        encoded(photo(33, 20), "GIF"),
    ]
    pictures = [Medium(source, str(number)) for number, source in enumerate(sources)]
    found = inspect_all(pictures)
    assert found == [inspect(one) for one in pictures]
    assert [one.width for one in found] == [640, 0, 700, 0, 33]
    assert inspect_all([]) == []


def test_facts_go_through_json_and_between_processes() -> None:
    facts = look(encoded(photo(10, 10)))
    assert pickle.loads(pickle.dumps(facts)) == facts
    *rest, findings = json.loads(json.dumps(facts))
    assert tuple(rest) == facts[:-1]
    assert [tuple(finding) for finding in findings] == list(facts.findings)


def animation() -> bytes:
    return encoded(photo(), "GIF", save_all=True, append_images=[Image.new("RGB", (90, 60), "red")])


def with_gps() -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    return encoded(photo(), "JPEG", exif=exif)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (animation(), "image_animated"),
        (encoded(photo().convert("CMYK"), "JPEG"), "image_cmyk"),
        (with_gps(), "image_location"),
        (encoded(photo(90, 15)), "image_extreme_size"),
        (encoded(photo(170, 20)), "image_extreme_size"),
        (encoded(photo(8193, 1200), "JPEG"), "image_extreme_size"),
        (
            encoded(Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80) * 10)),
            "image_sixteen_bit",
        ),
        (encoded(Image.new("RGB", (50, 50), "white")), "image_blank"),
        (encoded(Image.new("RGB", (500, 500), "navy"), "JPEG"), "image_blank"),
    ],
)
def test_each_warning(data: bytes, code: str) -> None:
    assert codes(data) == [code]
    assert {finding.severity for finding in look(data).findings} == {"warning"}


def test_a_name_that_lies(tmp_path: Path) -> None:
    for name, expected in (
        ("a.jpg", ["image_extension"]),
        ("a.PNG", []),
        ("a.bin", []),
        ("a.tiff", ["image_extension"]),
    ):
        (tmp_path / name).write_bytes(encoded(photo()))
        assert codes(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_empty"),
        (b"\x89PNG\r\n\x1a\n", "image_corrupt"),
        (encoded(photo(640, 480), "JPEG")[:-3000], "image_truncated"),
        (encoded(photo())[:-200], "image_truncated"),
        (b"BM" + bytes(100), "image_unsupported_format"),
        (encoded(photo(4000, 10)), "image_aspect_ratio"),
    ],
)
def test_a_bad_picture_is_one_error_and_no_exception(data: bytes, code: str) -> None:
    facts = look(data)
    assert [(finding.code, finding.severity) for finding in facts.findings] == [(code, "error")]
    assert facts[:-1] == (0, 0, "", "", 0, 0, "", "")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (finding,) = look(tmp_path / "gone.png").findings
    assert finding.code == "image_missing"
    assert "gone.png" in finding.message


def test_an_odd_pixel_is_not_blank() -> None:
    pixels = np.full((64, 64, 3), 200, np.uint8)
    assert codes(pixels) == ["image_blank"]
    pixels[10, 20] = 0
    assert codes(pixels) == []
