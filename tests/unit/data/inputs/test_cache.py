"""Resized pixels from a cache have the bits of those made anew, and another picture or transform misses."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts._compose import Case, compose, sample
from PIL import Image

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Region, Sample
from sightweave.data.inputs.cache import PixelCache, write
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.tiles import Tiles
from sightweave.data.inputs.transforms import Config

COMPOSED = compose(Case("concat", (), "decoder_only"))[1]


def processor(config: Config, **fields: Any) -> Processor:
    return Processor(
        tokenizer=COMPOSED.tokenizer, transform=config, layout=COMPOSED.layout, answers=("red",), **fields
    )


def save(path: Path, number: int, size: tuple[int, int] = (150, 90), **settings: Any) -> Path:
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (9, 15, 3), dtype=np.uint8))
    small.resize(size, Image.Resampling.BICUBIC).save(path, **settings)
    return path


@pytest.fixture
def media(tmp_path: Path) -> list[Medium]:
    """Two JPEG files, a PNG file, the bytes of a file, an array, and a drawn picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    array = np.random.default_rng(9).integers(0, 256, (50, 33, 3), dtype=np.uint8)
    return [
        Medium(save(folder / "a.jpg", 1), key="a"),
        Medium(save(folder / "b.jpg", 2, (90, 170)), key="b"),
        Medium(save(folder / "c.png", 3), key="c"),
        Medium(save(folder / "d.png", 4).read_bytes(), key="d"),
        Medium(array, key="e"),
        Medium(lambda: array[::2], key="f"),
    ]


def asked(media: list[Medium]) -> list[Sample]:
    return [sample(medium.key, medium, "what ?") for medium in media]


@pytest.mark.parametrize(
    ("config", "tiles"),
    [
        (Config(size=32), Tiles()),
        (Config(size=32, fit="crop", mean=(0.1, 0.2, 0.3), std=(0.3, 0.2, 0.1)), Tiles()),
        (Config(size=32, fit="crop", resize_to=40, exact=True, resample="bilinear"), Tiles()),
        (Config(size=32, fit="squash"), Tiles()),
        (Config(size=32), Tiles(max_tiles=6)),
        (Config(size=32, exact=True), Tiles(max_tiles=4)),
    ],
)
def test_cached_pixels_have_the_bits_of_those_made_anew(
    config: Config, tiles: Tiles, media: list[Medium], tmp_path: Path
) -> None:
    plain = processor(config, tiles=tiles)
    told: list[int] = []
    done = plain.write_cache(asked(media), tmp_path / "cache", told.append)
    encoded = [plain.encode(one) for one in asked(media)]
    shown = [medium for one in encoded for medium in one.trunk_media]
    assert done.pictures == len(shown) == sum(told)
    assert done.left_out == {}
    opened = PixelCache.open(tmp_path / "cache")
    assert list(opened) == [medium.key for medium in shown]
    assert all(opened.get(medium) is not None for medium in shown)
    cached = processor(config, tiles=tiles, cache=opened)
    assert cached.cache is opened
    found, expected = (one.batch(encoded).media["image"].dense for one in (cached, plain))
    assert torch.equal(found, expected)
    assert len(expected) == len(shown)


def test_it_is_read_instead_of_the_picture(media: list[Medium], tmp_path: Path) -> None:
    """With the places of two pictures exchanged in the index, the other one is shown; without a cache, its own."""
    plain = processor(Config(size=32))
    plain.write_cache(asked(media), tmp_path / "cache")
    index = json.loads((tmp_path / "cache" / "index.json").read_text())
    first, second = (index["items"][medium.key] for medium in media[:2])
    for name in ("shard", "row", "box", "picture", "check"):
        first[name], second[name] = second[name], first[name]
    (tmp_path / "cache" / "index.json").write_text(json.dumps(index))
    cached = processor(Config(size=32), cache=PixelCache.open(tmp_path / "cache"))
    assert torch.equal(cached.pixels(media[:1]), plain.pixels(media[1:2]))
    seeded = cached.pixels(media[:1], seeds=[1])  # what varies is decoded
    assert torch.equal(seeded, plain.pixels(media[:1], seeds=[1]))


def test_another_picture_of_equal_size_and_time_misses(media: list[Medium], tmp_path: Path) -> None:
    processor(Config(size=32)).write_cache(asked(media), tmp_path / "cache")
    path = media[0].source
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert PixelCache.open(tmp_path / "cache").get(media[0]) is None


def test_another_picture_under_the_same_name_misses(media: list[Medium], tmp_path: Path) -> None:
    plain = processor(Config(size=32))
    plain.write_cache(asked(media), tmp_path / "cache")
    cached = processor(Config(size=32), cache=PixelCache.open(tmp_path / "cache"))
    save(media[0].source, 77)
    others = [
        media[0],
        Medium(save(tmp_path / "x.png", 78).read_bytes(), key="d"),
        Medium(media[0].source, key="e"),
    ]
    assert [cached.cache.get(medium) for medium in others] == [None] * 3
    assert torch.equal(cached.pixels(others), processor(Config(size=32)).pixels(others))
    unknown = Medium(media[2].source, key="never met")
    assert cached.cache.get(unknown) is None


def test_a_file_that_was_only_touched_or_copied_hits(media: list[Medium], tmp_path: Path) -> None:
    processor(Config(size=32)).write_cache(asked(media), tmp_path / "cache")
    opened = PixelCache.open(tmp_path / "cache")
    os.utime(media[0].source, ns=(1, 1))
    assert opened.get(media[0]) is not None
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(media[1].source.read_bytes())
    assert opened.get(Medium(copy, key="b")) is not None
    assert opened.get(Medium(media[2].source.read_bytes(), key="c")) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"size": 31},
        {"fit": "squash"},
        {"fit": "crop"},
        {"exact": True},
        {"resample": "bilinear"},
    ],
)
def test_another_transform_misses_and_says_so(
    change: dict[str, Any], media: list[Medium], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    processor(Config(size=32)).write_cache(asked(media), tmp_path / "cache")
    other = processor(Config(**{"size": 32} | change), cache=PixelCache.open(tmp_path / "cache"))
    assert other.cache is None
    assert "the cache was made with a different transform" in caplog.text
    assert other.pixels(media).shape[-1] == other.transform.size


def test_tiles_decode_at_full_scale_so_their_cache_is_another(media: list[Medium], tmp_path: Path) -> None:
    processor(Config(size=32)).write_cache(asked(media), tmp_path / "cache")
    opened = PixelCache.open(tmp_path / "cache")
    assert processor(Config(size=32), tiles=Tiles(max_tiles=4), cache=opened).cache is None
    plain = processor(Config(size=32), cache=opened)
    one = plain.encode(asked(media)[0], max_tiles=4)  # asked for this sample alone
    assert len(one.trunk_media) > 1
    expected = processor(Config(size=32)).batch([one]).media["image"].dense
    assert torch.equal(plain.batch([one]).media["image"].dense, expected)


def test_normalisation_and_variation_do_not_matter_to_it(media: list[Medium], tmp_path: Path) -> None:
    processor(Config(size=32)).write_cache(asked(media), tmp_path / "cache")
    config = Config(size=32, mean=(0.1, 0.2, 0.3), augment="photo", gray=0.5)
    cached = processor(config, cache=PixelCache.open(tmp_path / "cache"))
    assert cached.cache is not None
    for seed in (None, 3):
        found, expected = (
            one.batch(asked(media), seed=seed).media["image"].dense for one in (cached, processor(config))
        )
        assert torch.equal(found, expected)


def test_regions_land_where_they_do_without_a_cache(media: list[Medium], tmp_path: Path) -> None:
    regions = (Region((0.6, 0.1, 0.9, 0.3), ("ball",)),)
    chosen = [dataclasses.replace(one, regions=regions) for one in asked(media)]
    plain = processor(Config(size=32))
    plain.write_cache(chosen, tmp_path / "cache")
    cached = processor(Config(size=32), cache=PixelCache.open(tmp_path / "cache"))
    found, expected = (one.batch(chosen, words="regions").regions for one in (cached, plain))
    assert len(expected.embedding) == len(media)
    assert torch.equal(found.embedding, expected.embedding)


def test_unreadable_pictures_are_counted_and_left_out(media: list[Medium], tmp_path: Path) -> None:
    bad = [Medium(tmp_path / "missing.jpg", key="gone"), Medium(b"no picture", key="broken")]
    for tiles in (Tiles(), Tiles(max_tiles=4)):
        plain = processor(Config(size=32), tiles=tiles)
        done = plain.write_cache(asked([bad[0], *media, bad[1], media[0]]), tmp_path / "cache")
        assert done.left_out.keys() == {"gone", "broken"}
        assert "file not found" in done.left_out["gone"]
        opened = PixelCache.open(tmp_path / "cache")
        assert opened.get(media[0]) is not None
        assert opened.get(bad[0]) is None
        assert len(opened) == done.pictures
        assert len({key.partition("#")[0] for key in opened}) == len(media)


def test_several_shards(media: list[Medium], tmp_path: Path) -> None:
    config = Config(size=32)
    write(config.build(), media, tmp_path / "cache", shard_bytes=2 * 3 * 32 * 32)
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 3
    cached = processor(config, cache=PixelCache.open(tmp_path / "cache"))
    assert torch.equal(cached.pixels(media), processor(config).pixels(media))


def test_a_cache_is_replaced_as_a_whole_and_nothing_else_ever_is(media: list[Medium], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    transform = Config(size=32).build()
    write(transform, media, folder)
    write(transform, media[:2], folder)
    assert len(PixelCache.open(folder)) == 2

    def stops() -> Any:
        yield media[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(transform, stops(), folder)
    assert len(PixelCache.open(folder)) == 2
    with pytest.raises(DataError, match=r": not a pixel cache: it has no index\.json\. It was not"):
        write(transform, media, tmp_path / "pictures")
    assert (tmp_path / "pictures" / "a.jpg").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "pictures"]


def change_index(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    def damage(folder: Path) -> None:
        path = folder / "index.json"
        index = json.loads(path.read_text(encoding="utf-8"))
        change(index)
        path.write_text(json.dumps(index), encoding="utf-8")

    return damage


def cut_short(folder: Path) -> None:
    path = folder / "pixels-0000.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda folder: (folder / "index.json").unlink(),
            r": not a pixel cache: it has no index\.json",
        ),
        (lambda folder: (folder / "index.json").write_text("{"), r"damaged: index\.json cannot be read"),
        (lambda folder: (folder / "index.json").write_bytes(b"\xff"), r"damaged: index\.json cannot be read"),
        (lambda folder: (folder / "index.json").write_text("[]"), "its index.json belongs to something else"),
        (
            change_index(lambda index: index.update(format_version=2)),
            "has format 2, but this version reads 1",
        ),
        (change_index(lambda index: index["fields"].clear()), "damaged: KeyError 'size'"),
        (change_index(lambda index: index["fields"].update(size=31)), "holds torch.uint8 .*expected uint8"),
        (change_index(lambda index: index["items"]["a"].update(row=99)), "entry of 'a' points outside"),
        (
            change_index(lambda index: index["items"]["a"].update(box=[0, 0, 33, 1])),
            "entry of 'a' points outside",
        ),
        (change_index(lambda index: index["items"]["a"].pop("key")), "damaged: KeyError 'key'"),
        (change_index(lambda index: index["items"].update(a=3)), "damaged: TypeError"),
        (
            change_index(lambda index: index["shards"][0].update(file="../x")),
            "a shard is outside the folder",
        ),
        (lambda folder: (folder / "pixels-0000.safetensors").unlink(), "damaged: FileNotFoundError"),
        (cut_short, "damaged: SafetensorError"),
    ],
)
def test_a_damaged_or_foreign_folder_is_refused(
    damage: Callable[[Path], Any], words: str, media: list[Medium], tmp_path: Path
) -> None:
    write(Config(size=32).build(), media, tmp_path / "cache")
    damage(tmp_path / "cache")
    with pytest.raises(DataError, match=words):
        PixelCache.open(tmp_path / "cache")
    with pytest.raises(DataError, match=": not a pixel cache: "):
        PixelCache.open(tmp_path / "nowhere")


def test_a_changed_pixel_is_found_when_it_is_first_read(media: list[Medium], tmp_path: Path) -> None:
    write(Config(size=32).build(), media, tmp_path / "cache")
    path = tmp_path / "cache" / "pixels-0000.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1  # of the last picture
    path.write_bytes(data)
    opened = PixelCache.open(tmp_path / "cache")
    assert opened.get(media[0]) is not None
    with pytest.raises(
        DataError, match="the pixels of 'f' have changed since they were written; delete the folder"
    ):
        opened.get(media[-1])
