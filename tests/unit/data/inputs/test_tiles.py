"""Large pictures become a thumbnail and tiles, and nothing of them is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from contracts._compose import PLAIN_CASES, Case, compose, picture, sample, total_loss
from contracts.test_packing import check_equal
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sightweave.core.batch import Batch
from sightweave.core.types import Medium, Region, Sample
from sightweave.data.inputs import image_files
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.tiles import Tile, Tiles, cut, expand, grid, pieces, whole
from sightweave.programs.generation import Options, generate

CASE = Case("concat", (), "decoder_only")


def with_tiles(processor: Processor, max_tiles: int = 6) -> Processor:
    return Processor(
        tokenizer=processor.tokenizer,
        transform=processor.transform,
        layout=processor.layout,
        answers=processor.answers,
        tiles=Tiles(max_tiles=max_tiles),
    )


def large(number: int, height: int = 64, width: int = 96) -> Medium:
    """A picture of two rows and three columns of squares of 32, each of one colour of its own."""
    colours = np.random.default_rng(number).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    return Medium(colours.repeat(height // 2, 0).repeat(width // 3, 1), key=f"large-{number}")


@pytest.mark.parametrize(
    ("width", "height", "max_tiles", "expected"),
    [
        (224, 224, 12, (1, 1)),
        (100, 224, 12, (1, 1)),
        (448, 448, 12, (2, 2)),
        (448, 448, 3, (1, 1)),
        (672, 448, 12, (2, 3)),
        (448, 672, 12, (3, 2)),
        (300, 300, 12, (1, 1)),  # 2 x 2 would show it larger, and 1 x 2 is further from its aspect
        (1000, 230, 12, (1, 4)),
        (1920, 1080, 12, (2, 4)),
        (3000, 3000, 12, (3, 3)),
        (3000, 3000, 0, (1, 1)),
        (3000, 1000, 1, (1, 1)),
        (450, 300, 12, (1, 2)),
    ],
)
def test_grids_by_hand(width: int, height: int, max_tiles: int, expected: tuple[int, int]) -> None:
    assert grid(width, height, 224, max_tiles) == expected


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 400), st.integers(0, 40))
def test_a_grid_keeps_its_promises(width: int, height: int, side: int, max_tiles: int) -> None:
    rows, columns = grid(width, height, side, max_tiles)
    assert rows >= 1
    assert columns >= 1
    if (rows, columns) == (1, 1):
        return
    assert max(width, height) > side
    assert rows * columns <= max_tiles
    assert rows * columns * side**2 <= 2 * width * height
    assert max(width * rows, height * columns) / min(width * rows, height * columns) <= max(
        width, height
    ) / min(width, height)
    assert grid(height, width, side, max_tiles) == (columns, rows) or width == height


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 7), st.integers(1, 7))
def test_tiles_join_to_the_picture(width: int, height: int, rows: int, columns: int) -> None:
    pixels = np.arange(width * height * 3).reshape(height, width, 3)
    tiles = [
        [Tile(Medium(b"", key="p"), r, c, rows, columns).cut(pixels) for c in range(columns)]
        for r in range(rows)
    ]
    joined = np.concatenate([np.concatenate(row, axis=1) for row in tiles])
    np.testing.assert_array_equal(joined, pixels)


def test_a_sample_shows_the_thumbnail_and_then_its_tiles() -> None:
    first, small = large(1), picture(2)
    regions = (Region((0.0, 0.0, 0.5, 0.5), ("ball",)),)
    plain = sample("s", first, "what ?", small)
    asked = Sample(id="s", task="vqa", parts=plain.parts, regions=regions)
    found = expand(asked, side=32, tiles=Tiles(max_tiles=6))
    keys = [f"large-1#tile{r},{c}/2x3" for r in (0, 1) for c in (0, 1, 2)]
    assert [medium.key for medium in found.media] == ["large-1", *keys, "picture-2"]
    assert found.media[0] is first
    assert found.regions == regions
    assert found.parts[7].content == "what ?"
    assert {part.role for part in found.parts[:7]} == {"user"}


def test_what_stays_whole() -> None:
    plain = sample("s", large(1), picture(2), "what ?")
    assert expand(plain, side=32, tiles=Tiles()) is plain
    assert expand(plain, side=32, tiles=Tiles(max_tiles=6, min_side=96)) is plain
    assert expand(plain, side=96, tiles=Tiles(max_tiles=6)) is plain
    assert len(pieces(large(1), side=32, tiles=Tiles(max_tiles=6, min_side=95))) == 7
    video = Medium(large(1).source, key="v", modality="video")
    assert pieces(video, side=32, tiles=Tiles(max_tiles=6)) == [video]


def test_a_tile_alone_is_a_picture_like_any_other() -> None:
    parent = large(1)
    tile = cut(parent, 2, 3)[4]
    np.testing.assert_array_equal(image_files.load(tile), np.asarray(parent.source)[32:, 32:64])
    info = image_files.probe(tile)
    assert (info.width, info.height) == (32, 32)
    assert whole(tile) is parent
    assert whole(parent) is parent


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"max_tiles: must not be negative \(got -1\)"):
        Tiles(max_tiles=-1)


def test_a_picture_is_decoded_once_for_all_its_tiles() -> None:
    calls = []

    def draw() -> np.ndarray:
        calls.append(1)
        return np.asarray(large(1).source)

    processor = with_tiles(compose(CASE)[1])
    drawn = Medium(draw, key="drawn")
    encoded = processor.encode(sample("s", drawn, "what ?"))
    assert len(calls) == 1  # its size
    processor.batch([encoded])
    assert len(calls) == 2
    assert processor.length(sample("t", drawn, "what ?")) == 7 * 16 + len(encoded.prompt) + len(
        encoded.target
    )
    assert len(calls) == 2


def test_lengths_need_a_header_and_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.asarray(large(1).source)).save(path)
    path.write_bytes(path.read_bytes()[:700])  # the header is whole, the picture is not
    processor = with_tiles(compose(CASE)[1])
    asked = sample("s", Medium(path, key="cut"), "what ?")
    text = processor.length(sample("s", "what ?"))
    marks = processor.layout.tokens_per_image
    assert processor.length(asked) == text + 7 * marks
    assert processor.length(asked, max_tiles=2) == text + 3 * marks
    assert processor.length(asked, max_tiles=0) == text + marks
    assert len(processor.encode(asked, max_tiles=2).trunk_media) == 3
    assert processor.encode(asked).sample is asked


def test_every_tile_holds_its_own_pixels() -> None:
    """A mark of two pixels in a picture of 96 x 64 is lost in a thumbnail of 32 and stands whole in its tile."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[50, 70:72] = 255
    processor = with_tiles(compose(CASE)[1])
    batch = processor.batch([sample("s", Medium(pixels, key="p"), "what ?")])
    found = batch.media["image"].dense
    assert found.shape == (7, 3, 32, 32)
    assert int((batch.target.item >= 0).sum()) == 7 * processor.layout.tokens_per_image
    tile = found[6]  # row 1, column 2
    assert (tile[:, 18, 6:8] == 1).all()
    assert int((tile == 1).sum()) == 6
    assert (found[1:6] == -1).all()
    assert found[0].max() < 0.5


def test_tiles_fill_the_square_whatever_their_aspect() -> None:
    processor = with_tiles(compose(CASE)[1], max_tiles=2)
    one = sample("s", Medium(np.full((40, 100, 3), 255, np.uint8), key="p"), "what ?")
    found = processor.batch([one]).media["image"].dense
    assert len(found) == 3  # 1 x 2 tiles of 50 x 40 pixels
    assert (found[1:] == 1).all()
    assert (found[0][:, 0] == 0).all()  # the thumbnail is padded


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_tiled_samples_train_shared_and_packed_as_alone(case: Case) -> None:
    model, processor = compose(case)
    tiled = with_tiles(processor)
    chosen = [
        sample("one", large(1), "what colour is the ball ?", answer="red"),
        sample("again", large(1), "how many ?", answer="two"),
        sample("small", picture(1), "what colour is the ball ?", answer="blue"),
        sample("middle", "compare this picture", large(2), "with that one", picture(3), answer="blue"),
    ]
    batch = check_equal(model, tiled, chosen, share=True, pack_to=400)
    assert len(batch.media["image"].dense) == 7 + 1 + 7 + 1
    assert float(total_loss(model, batch).detach()) > 0


def test_tiled_samples_are_answered_shared_as_alone() -> None:
    model, processor = compose(CASE)
    tiled = with_tiles(processor)
    asked = [
        sample("a", large(1), "what ?"),
        sample("b", large(1), "how many ?"),
        sample("c", picture(1), "how ?"),
    ]
    options = Options(max_tokens=5)
    together = [one.text for one in generate(model, tiled, asked, options)]
    assert together == [generate(model, tiled, [one], options)[0].text for one in asked]


def test_tiles_change_what_the_model_sees() -> None:
    model, processor = compose(CASE)
    one = sample("a", large(1), "what ?")

    def loss(batch: Batch) -> float:
        return float(total_loss(model, batch).detach())

    assert loss(processor.batch([one])) != loss(with_tiles(processor).batch([one]))


def test_variations_light_all_tiles_alike_and_never_mirror_or_move_them() -> None:
    base = compose(CASE)[1]
    varied = Processor(
        tokenizer=base.tokenizer,
        transform=type(base.transform)(size=32, augment="photo", flip=True, gray=0.3),
        layout=base.layout,
        tiles=Tiles(max_tiles=6),
    )
    pixels = np.full((64, 96, 3), 90, np.uint8)
    pixels[:, :, 0] = 180
    pixels[:, ::32] = 0  # the left edge of every tile
    one = sample("s", Medium(pixels, key="p"), "what ?")
    grays = set()
    for seed in range(20):
        found = varied.batch([one], seed=seed).media["image"].dense
        for tile in found[1:]:
            torch.testing.assert_close(tile, found[1], rtol=0, atol=0)
            assert (tile[:, :, 0].mean(1) < tile[:, :, 1].mean(1)).all()
        is_gray = [bool((one[0] == one[1]).all()) for one in found]
        assert len(set(is_gray)) == 1
        grays.add(is_gray[0])
    assert grays == {False, True}
