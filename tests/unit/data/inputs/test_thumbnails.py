"""What an answer keeps of its picture is small, and looks the same."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from sightweave.core.types import Medium
from sightweave.data.inputs import thumbnails
from sightweave.pages.notebook import SIDE


def opened(address: str) -> PIL.Image.Image:
    head, _, content = address.partition(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return PIL.Image.open(io.BytesIO(base64.b64decode(content)))


def halves(width: int, height: int) -> np.ndarray:
    pixels = np.full((height, width, 3), (200, 30, 30), np.uint8)
    pixels[:, width // 2 :] = (30, 60, 200)
    return pixels


@pytest.mark.parametrize(("width", "height"), [(1200, 800), (800, 1200), (12, 8)])
def test_a_picture_in_memory_is_kept_as_a_small_copy(width: int, height: int) -> None:
    pixels = halves(width, height)
    for source in (pixels, PIL.Image.fromarray(pixels), lambda: pixels):
        small = thumbnails.kept(Medium(source, "a"))
        assert isinstance(small.source, bytes)
        assert len(small.source) < 20_000
        (address,) = thumbnails.addresses([small])
        shown = opened(address)
        assert max(shown.size) == min(SIDE, max(width, height))
        left, right = np.asarray(shown.convert("RGB"))[shown.height // 2, [1, -2]].astype(int)
        assert abs(left - (200, 30, 30)).max() < 12
        assert abs(right - (30, 60, 200)).max() < 12


def test_the_bytes_of_a_file_are_kept_unless_they_are_many() -> None:
    for side, is_kept in ((40, True), (800, False)):
        out = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        PIL.Image.fromarray(noise).save(out, "PNG")
        medium = Medium(out.getvalue(), "a")
        small = thumbnails.kept(medium)
        assert (small is medium) is is_kept
        assert isinstance(small.source, bytes)
        assert len(small.source) < 1 << 20
        (address,) = thumbnails.addresses([small])
        assert max(opened(address).size) == min(SIDE, side)


def test_a_file_is_kept_by_its_path_and_may_go(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(halves(400, 300)).save(path)
    medium = Medium(path, "a")
    assert thumbnails.kept(medium) is medium
    (address,) = thumbnails.addresses([medium])
    assert opened(address).size == (SIDE, SIDE * 3 // 4)
    path.unlink()
    assert thumbnails.addresses([medium]) == []
