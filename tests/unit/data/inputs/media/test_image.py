"""Images as one modality among others."""

from __future__ import annotations

import pickle

import numpy as np
import torch

from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs import transforms
from sightweave.data.inputs.media import image
from sightweave.data.inputs.tiles import Tiles

LOADER = image.Config(transform=transforms.Config(size=16), tiles=Tiles(max_tiles=4)).build()


def test_the_size_is_that_of_the_encoder_s_square() -> None:
    assert LOADER.size(image.noise(1, 90, 41)) == (16, 16)
    assert LOADER.value(image.noise(1, 90, 41)).shape == (3, 16, 16)


def test_a_generated_image_is_drawn_once_for_its_size() -> None:
    drawn = []

    def draw() -> np.ndarray:
        drawn.append(1)
        return np.zeros((30, 40, 3), np.uint8)

    medium = Medium(draw, "drawn")
    assert {(LOADER.info(medium).width, LOADER.info(medium).height) for _ in range(3)} == {(40, 30)}
    assert len(drawn) == 1


def test_large_images_are_followed_by_their_tiles() -> None:
    large, small = image.noise(1, 64, 64), image.noise(2, 16, 16)
    sample = Sample("a", "vqa", tuple(Part("user", one) for one in (large, "what ?", small)))
    expanded = LOADER.expand(sample)
    keys = [medium.key for medium in expanded.media]
    assert keys[0] == large.key
    assert [key.partition("#")[0] for key in keys] == [large.key] * (len(keys) - 1) + [small.key]
    assert len(keys) > 3
    assert LOADER.expand(sample, max_tiles=0) is sample
    assert [one.key for one in LOADER.pieces(large)] == keys[:-1]


def test_a_copy_reads_the_same() -> None:
    copied = pickle.loads(pickle.dumps(LOADER))
    media = [image.noise(n, 40, 30) for n in range(3)]
    ours, theirs = LOADER.load(media), copied.load(media)
    assert isinstance(ours.values, torch.Tensor)
    assert torch.equal(ours.values, theirs.values)
    assert list(ours.sizes) == list(theirs.sizes) == [(40, 30)] * 3


def test_examples_differ_and_blanks_are_grey() -> None:
    assert len(set(image.Loader.contents([image.Loader.example(n) for n in range(5)]).values())) == 5
    grey = LOADER.value(image.Loader.blank(image.noise(1, 40, 30)))
    assert float(grey.std()) < 1e-6
