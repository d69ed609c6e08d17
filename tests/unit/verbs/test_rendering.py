"""Words are replaced without a model, and images are written as PNG files that lose nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sightweave
from sightweave.core.errors import DataError, FolderError
from sightweave.verbs.rendering import write_png

PICTURE = np.random.default_rng(0).integers(100, 200, (60, 160, 3), dtype=np.uint8)


def test_regions_are_objects_or_plain_text(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "photo.png")
    region = sightweave.TextRegion("Tor", (0.1, 0.2, 0.9, 0.8), ink=(0, 0, 0), ground=(255, 255, 255))
    found = sightweave.render(PICTURE, [region])
    plain = "[100 200 900 800 ink=#000000 ground=#ffffff] Tor"
    written = sightweave.render(tmp_path / "photo.png", plain, out=tmp_path / "out.png")
    assert written.tobytes() == found.tobytes() != PICTURE.tobytes()
    with Image.open(tmp_path / "out.png") as read:
        assert read.tobytes() == found.tobytes()
    # Our own output may be replaced, but not a photograph.
    sightweave.render(PICTURE, [region], out=tmp_path / "out.png", font="DejaVu Serif")
    with Image.open(tmp_path / "out.png") as read:
        assert read.tobytes() != found.tobytes()
    with pytest.raises(FolderError, match=r"photo\.png: this file was not written by Sightweave"):
        sightweave.render(PICTURE, [region], out=tmp_path / "photo.png")
    with pytest.raises(FolderError, match=r"give a name that ends in \.png"):
        sightweave.render(PICTURE, [region], out=tmp_path / "photo.jpg")
    assert not (tmp_path / "photo.jpg").exists()


def test_faults_are_errors() -> None:
    with pytest.raises(DataError, match=r"regions: line 1: .* has 3 numbers"):
        sightweave.render(PICTURE, "[1 2 3] a")
    with pytest.raises(DataError, match="does not fit"):
        sightweave.render(PICTURE, "[0 0 20 20] too long")
    with pytest.raises(DataError, match="0 images; give one"):
        sightweave.render(None, "[0 0 900 900] a")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_mode_is_written_without_loss(mode: str, tmp_path: Path) -> None:
    if mode == "I;16":
        values = np.arange(600, dtype="<u2") * 100
        picture = Image.frombytes(mode, (30, 20), values.tobytes())
    else:
        picture = Image.fromarray(PICTURE[:20, :30]).convert(mode)
    write_png(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        expected = picture.convert("RGB") if mode == "CMYK" else picture
        assert (read.mode, read.size) == (expected.mode, expected.size)
        assert read.tobytes() == expected.tobytes()


def test_a_colour_profile_is_kept_and_the_file_is_still_ours(tmp_path: Path) -> None:
    picture = Image.fromarray(PICTURE)
    picture.info["icc_profile"] = np.random.default_rng(1).bytes(20_000)
    write_png(picture, tmp_path / "a.png")
    write_png(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert read.info["icc_profile"] == picture.info["icc_profile"]
