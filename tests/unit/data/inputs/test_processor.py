"""Samples to a batch, with what is saved beside the weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts._compose import Case, compose, picture, sample, samples

from sightweave.core.errors import CheckpointError, MediaError, RecipeError
from sightweave.core.types import Medium, Part, Region, Sample
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.tiles import Tiles
from sightweave.recipe import read

PROCESSOR = compose(Case("concat", (), "decoder_only"))[1]
CLASSIFIER = compose(Case("bilinear", (), "encoder_only"))[1]


def write(processor: Processor, folder: Path) -> None:
    for name, document in processor.documents().items():
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize("processor", [PROCESSOR, CLASSIFIER], ids=["generates", "classifies"])
def test_what_is_saved_makes_the_same_batches(processor: Processor, tmp_path: Path) -> None:
    write(processor, tmp_path)
    loaded = Processor.load(tmp_path)
    assert loaded.layout == processor.layout
    assert loaded.answers == processor.answers
    assert loaded.transform == processor.transform
    assert loaded.max_length == processor.max_length
    assert loaded.tiles == processor.tiles
    one, other = (p.batch(samples()) for p in (processor, loaded))
    assert torch.equal(one.target.ids, other.target.ids)
    assert torch.equal(one.media["image"].dense, other.media["image"].dense)


def test_a_file_from_before_there_were_other_media_loads(tmp_path: Path) -> None:
    write(PROCESSOR, tmp_path)
    path = tmp_path / "processor.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    images = values["layout"].pop("media")["image"]
    values["layout"] |= {"tokens_per_image": images["tokens"], "grid": images["grid"]}
    del values["media"]
    path.write_text(json.dumps(values), encoding="utf-8")
    loaded = Processor.load(tmp_path)
    assert loaded.layout == PROCESSOR.layout
    assert torch.equal(loaded.batch(samples()).target.ids, PROCESSOR.batch(samples()).target.ids)


def test_tiles_are_saved_and_files_from_before_there_were_any_load(tmp_path: Path) -> None:
    tiled = dataclasses.replace(PROCESSOR, tiles=Tiles(max_tiles=6, min_side=40))
    write(tiled, tmp_path)
    assert Processor.load(tmp_path).tiles == tiled.tiles
    path = tmp_path / "processor.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["tiles"]
    for name in ("exact", "resample", "resize_to"):
        del values["transform"][name]
    path.write_text(json.dumps(values), encoding="utf-8")
    loaded = Processor.load(tmp_path)
    assert loaded.tiles == Tiles()
    assert loaded.transform == PROCESSOR.transform


def test_a_recipe_says_how_many_tiles() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    parts = {"encoder": "vit", "connector": "linear", "fusion": "concat", "language_model": "decoder_only"}
    values = {"data": {"kind": "scenes"}, "model": parts, "train": {"stages": [{"steps": 1}]}}
    recipe = read(values, ["inputs.max_tiles=6", "inputs.flip=true"])
    made = recipe.build_processor(PROCESSOR.tokenizer, model, ())
    assert made.tiles == Tiles(max_tiles=6)
    assert made.transform.flip
    with pytest.raises(RecipeError, match=r"inputs\.max_tiles.*-1"):
        read(values, ["inputs.max_tiles=-1"])


def test_an_encoder_may_ask_for_its_own_pixels() -> None:
    model, _ = compose(Case("concat", (), "decoder_only"))
    parts = {"encoder": "vit", "connector": "linear", "fusion": "concat", "language_model": "decoder_only"}
    recipe = read({"data": {"kind": "scenes"}, "model": parts, "train": {"stages": [{"steps": 1}]}})
    model.encoder.preprocessing = {"fit": "crop", "resize_to": 40, "exact": True, "mean": (0.1, 0.2, 0.3)}
    made = recipe.build_processor(PROCESSOR.tokenizer, model, ()).transform
    expected = type(made)(size=32, fit="crop", resize_to=40, exact=True, mean=(0.1, 0.2, 0.3))
    assert made == expected
    model.encoder.preprocessing = {"crop": 224}
    with pytest.raises(RecipeError, match=r"model\.encoder\.preprocessing.*\n.*crop: unknown key"):
        recipe.build_processor(PROCESSOR.tokenizer, model, ())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values.update(tiles={"max_tiles": -1}), "max_tiles"),
        (lambda values: values.update(tiles={"colour": 1}), "colour: unknown key"),
        (lambda values: values.pop("layout"), r": not a processor file.*\n  layout: missing"),
        (lambda values: values["layout"].update(colour=1), "layout.colour"),
        (lambda values: values["transform"].update(size="wide"), "transform|size"),
        (lambda values: values.update(transform=3), r": not a processor file.*\n  transform"),
        (lambda values: values.update(max_length="long"), "max_length.*'long'"),
        (lambda values: values.update(max_length=10**12), "max_length"),
        (lambda values: values.update(max_length=float("inf")), "max_length"),
        (lambda values: values.update(vocab_size=10**12), "vocab_size"),
        (lambda values: values.update(answers=[["red"]]), "answers.0"),
        (lambda values: values.update(template={"start": ["<a>"]}), "template.start"),
        (lambda values: values.update(template={"before_image": "<a>" * 10_000}), "template.before_image"),
        (lambda values: values["layout"].update(form=["causal"]), "layout.form"),
        (lambda values: values["transform"].update(size=10**6), "transform.size"),
        (lambda values: values["transform"].update(resize_to=10**6), "transform.resize_to"),
        (lambda values: values["transform"].update(std=[0, 0, 0]), "transform.std.0"),
        (lambda values: values["transform"].update(gray=3), "transform.gray"),
        (lambda values: values.update(tiles={"max_tiles": 10**9}), "tiles.max_tiles"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, change: Any, words: str) -> None:
    write(PROCESSOR, tmp_path)
    path = tmp_path / "processor.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(CheckpointError, match=words):
        Processor.load(tmp_path)


def test_a_missing_and_a_broken_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r": file not found; a run's checkpoint folder contains one\."):
        Processor.load(tmp_path)
    write(PROCESSOR, tmp_path)
    for content in (b"{", b"[]", b"\xff\xfe"):
        (tmp_path / "processor.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=": not a processor file"):
            Processor.load(tmp_path)


def test_a_picture_is_decoded_once_a_batch() -> None:
    calls = []

    def draw() -> np.ndarray:
        calls.append(1)
        return np.zeros((8, 8, 3), np.uint8)

    medium = Medium(draw, key="drawn")
    pixels = PROCESSOR.pixels([medium, picture(1), medium])
    assert len(calls) == 1
    assert torch.equal(pixels[0], pixels[2])
    assert not torch.equal(pixels[0], pixels[1])


def test_an_unreadable_picture_is_a_media_error() -> None:
    with pytest.raises(MediaError):
        PROCESSOR.batch([sample("bad", Medium(b"no picture", key="bad"), "what ?")])


def with_regions(name: str, number: int, *regions: Region, answer: str = "red") -> Sample:
    parts = (Part("user", picture(number)), Part("user", "what ?"), Part("assistant", answer, learn=True))
    return Sample(id=name, task="vqa", parts=parts, references=(answer,), regions=regions)


def test_regions_name_words_for_places() -> None:
    top_left = Region((0.0, 0.2, 0.1, 0.3), ("ball",))
    bottom_right = Region((0.9, 0.7, 1.0, 0.8), ("cats", "blue"))
    chosen = [with_regions("none", 1), with_regions("two", 2, top_left, bottom_right)]
    for batch in (PROCESSOR.batch(chosen, words="regions"), PROCESSOR.media_batch(chosen, words="regions")):
        found = batch.regions
        assert len(batch.media["image"].dense) == 2
        assert [at // 16 for at in found.embedding.tolist()] == [1, 1]
        column = [at % 16 % 4 for at in found.embedding.tolist()]
        row = [at % 16 // 4 for at in found.embedding.tolist()]
        assert column == [0, 3]
        assert row[0] < row[1]
        ids = PROCESSOR.tokenizer.word_ids("ball")
        assert found.words[0][: len(set(ids))].tolist() == sorted(set(ids))


def test_captions_name_words_for_whole_pictures() -> None:
    chosen = [
        with_regions("a", 1, answer="red"),
        with_regions("b", 2, answer="blue"),
        with_regions("c", 1, answer="two"),
    ]
    found = PROCESSOR.media_batch(chosen, words="captions").regions
    assert found.whole
    expected = [{"red", "two"}, {"blue"}]
    for row, words in zip(found.words.tolist(), expected, strict=True):
        assert {i for i in row if i >= 0} == {i for word in words for i in PROCESSOR.tokenizer.encode(word)}


def test_where_a_picture_has_captions_they_alone_say_what_it_shows() -> None:
    caption = dataclasses.replace(sample("b", picture(1), "what ?", answer="red ball"), is_caption=True)
    chosen = [
        sample("a", picture(1), "what ?", answer="two"),
        caption,
        sample("c", picture(2), answer="blue"),
    ]
    for batch in (PROCESSOR.batch(chosen, words="captions"), PROCESSOR.media_batch(chosen, words="captions")):
        assert batch.regions is not None
        for row, said in zip(batch.regions.words.tolist(), ("red ball", "blue"), strict=True):
            assert {index for index in row if index >= 0} == set(PROCESSOR.tokenizer.encode(said))


def test_words_go_to_the_picture_that_shows_them_wherever_it_stands() -> None:
    """Pictures in front, which samples share, and pictures behind a text: captions tell which is which."""
    keys = ("red", "blue", "two")
    media = {key: Medium(picture(number).source, key) for number, key in enumerate(keys)}
    first = sample("a", media["red"], "what ?", answer="red")
    second = sample("b", media["red"], "compare this picture with that one", media["blue"], answer="blue")
    third = sample("c", "what ?", media["two"], answer="two")
    for share, expected in ((True, ["red", "blue", "two"]), (False, ["red", "red", "blue", "two"])):
        batch = PROCESSOR.batch([first, second, third], share=share, words="captions")
        assert list(batch.media["image"].keys) == expected
        assert batch.regions is not None
        said = [{i for i in row if i >= 0} for row in batch.regions.words.tolist()]
        ids = {key: set(PROCESSOR.tokenizer.encode(key)) for key in keys}
        shared = ids["red"] | ids["blue"]
        assert said == (
            [shared, ids["blue"], ids["two"]] if share else [ids["red"], ids["blue"], ids["blue"], ids["two"]]
        )


def test_a_seed_varies_pictures_and_the_same_seed_does_not() -> None:
    varied = Processor(
        tokenizer=PROCESSOR.tokenizer,
        transform=type(PROCESSOR.transform)(size=32, augment="shift"),
        layout=PROCESSOR.layout,
    )
    one, again, other, plain = (
        varied.batch(samples()[1:2], seed=seed).media["image"].dense for seed in (1, 1, 2, None)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, plain)


def mirrored(chosen: list[Sample], *, seeds: int = 30, **settings: Any) -> list[int]:
    """For each picture of a batch, how often a seed mirrored it."""
    flips = dataclasses.replace(PROCESSOR, transform=type(PROCESSOR.transform)(size=32, flip=True))
    plain = flips.batch(chosen, **settings).media["image"].dense
    counts = [0] * len(plain)
    for seed in range(seeds):
        found = flips.batch(chosen, seed=seed, **settings).media["image"].dense
        for index, (one, other) in enumerate(zip(found, plain, strict=True)):
            assert torch.equal(one, other) or torch.equal(one, other.flip(2))
            counts[index] += not torch.equal(one, other)
    return counts


def test_a_picture_is_mirrored_only_where_no_text_names_a_side() -> None:
    neutral = sample("neutral", picture(1), "what colour is the ball ?")
    asking = sample("asking", picture(2), "what is to the left of the ball ?")
    answering = sample("answering", picture(3), "where is it ?", answer="on the Right")
    pointing = with_regions("pointing", 4, Region((0.0, 0.0, 0.5, 0.5), ("left hand",)))
    choosing = dataclasses.replace(sample("choosing", picture(5), "where ?"), options=("links", "mitte"))
    first, *others = mirrored([neutral, asking, answering, pointing, choosing])
    assert 5 < first < 25
    assert others == [0] * 4


@pytest.mark.parametrize("share", [True, False])
def test_one_sample_that_names_a_side_keeps_the_picture_for_all(share: bool) -> None:
    chosen = [sample("a", picture(1), "what ?"), sample("b", picture(1), "what is on the right ?")]
    assert set(mirrored(chosen, share=share)) == {0}


def test_pictures_of_words_keep_their_sides_too() -> None:
    flips = dataclasses.replace(PROCESSOR, transform=type(PROCESSOR.transform)(size=32, flip=True))
    chosen = [with_regions("a", 1, answer="blue"), with_regions("b", 2, answer="the left one")]
    plain = flips.media_batch(chosen, words="captions").media["image"].dense
    found = [flips.media_batch(chosen, words="captions", seed=s).media["image"].dense for s in range(20)]
    assert any(not torch.equal(one[0], plain[0]) for one in found)
    assert all(torch.equal(one[1], plain[1]) for one in found)


def test_a_region_stays_on_its_thing_whether_mirrored_or_not() -> None:
    """A white corner with a word: the embedding named for it is where the corner is drawn."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:8, :8] = 255
    flips = dataclasses.replace(PROCESSOR, transform=type(PROCESSOR.transform)(size=32, flip=True))
    for word, columns in (("ball", {0, 3}), ("left ball", {0})):
        region = Region((0.0, 0.0, 0.25, 0.25), (word,))
        parts = (Part("user", Medium(pixels, key="p")), Part("assistant", "red", learn=True))
        one = Sample(id="s", task="vqa", parts=parts, regions=(region,))
        met = set()
        for seed in range(20):
            batch = flips.batch([one], words="regions", seed=seed)
            at = int(batch.regions.embedding[0]) % 4
            assert float(batch.media["image"].dense[0, 0, 4, 8 * at + 4]) == 1
            met.add(at)
        assert met == columns
