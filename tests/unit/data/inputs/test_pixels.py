"""The pixels of a batch: the same bits from any number of threads, and each picture read once."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import pixels as pixels_file
from sightweave.data.inputs import transforms
from sightweave.data.inputs.pixels import PixelLoader
from sightweave.data.inputs.tiles import cut

TRANSFORM = transforms.Config(size=32, augment="shift", flip=True).build()


def jpeg(number: int) -> bytes:
    rng = np.random.default_rng(number)
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((160, 120)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def media(tmp_path: Path) -> list[Medium]:
    """Files, bytes, functions that give bytes and that draw, an array, a picture with its tiles, and one twice."""
    found = []
    for number in range(6):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(jpeg(number))
        found.append(Medium(path, key=str(path)))
    drawn = np.random.default_rng(9).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    found += [
        Medium(jpeg(6), key="bytes"),
        Medium(lambda: jpeg(7), key="gives bytes"),
        Medium(lambda: drawn, key="draws"),
        Medium(drawn[:30], key="array"),
    ]
    return [*found, found[1], *cut(found[2], 2, 2), *cut(found[7], 1, 2)]


@pytest.mark.parametrize("seeds", [None, tuple(range(17))])
@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_no_bit(media: list[Medium], workers: int, seeds: tuple[int, ...] | None) -> None:
    expected = PixelLoader(TRANSFORM, is_whole=False)(media, seeds, fixed=frozenset({"bytes"}))
    loader = PixelLoader(TRANSFORM, is_whole=False)
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(2):  # the second time, files come from memory
            found = loader(media, seeds, fixed=frozenset({"bytes"}), pool=pool)
            assert torch.equal(found[0], expected[0])
            assert found[1] == expected[1]


def test_functions_are_called_in_the_callers_thread() -> None:
    threads = []

    def draw() -> np.ndarray:
        threads.append(threading.current_thread())
        return np.zeros((8, 8, 3), np.uint8)

    with ThreadPoolExecutor(2) as pool:
        PixelLoader(TRANSFORM, is_whole=False)([Medium(draw, key=str(i)) for i in range(4)], pool=pool)
    assert threads == [threading.current_thread()] * 4


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_picture_that_cannot_be_read_is_named(media: list[Medium], workers: int) -> None:
    bad = [Medium(b"not one", key="first bad"), Medium(b"nor this", key="second bad")]
    with ThreadPoolExecutor(workers) as pool, pytest.raises(MediaError, match="first bad"):
        PixelLoader(TRANSFORM, is_whole=False)([*media[:4], *bad, *media[4:]], pool=pool)


def test_files_are_kept_while_there_is_room_and_read_again_where_not(
    media: list[Medium], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = media[:6]
    loader = PixelLoader(TRANSFORM, is_whole=True)
    one = 160 * 120 * 3
    monkeypatch.setattr(pixels_file, "_KEPT_BYTES", 4 * one)
    with ThreadPoolExecutor(3) as pool:
        before, _ = loader(files, pool=pool)
        for medium in files:
            assert isinstance(medium.source, Path)
            medium.source.write_bytes(jpeg(100))
        after, _ = loader(files, pool=pool)
    unchanged = [bool(torch.equal(x, y)) for x, y in zip(before, after, strict=True)]
    assert sum(unchanged) == 4


def test_many_callers_at_once_get_the_same(media: list[Medium]) -> None:
    loader = PixelLoader(TRANSFORM, is_whole=False)
    expected, _ = PixelLoader(TRANSFORM, is_whole=False)(media)
    with ThreadPoolExecutor(4) as callers:
        for found, _ in callers.map(loader, [media] * 12):
            assert torch.equal(found, expected)
