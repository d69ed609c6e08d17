"""Encoders that cannot be built say why."""

from __future__ import annotations

import pytest
import torch

from sightweave.models.encoders import cnn, resnet, vit


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (vit.Config(image_size=30, patch_size=16), "patch_size 16 does not divide image_size 30"),
        (vit.Config(patch_size=0), "patch_size 0 does not divide"),
        (
            vit.Config(image_size=48, patch_size=12, stem="convolution"),
            "a power of two, 2 or more \\(got 12\\)",
        ),
        (
            vit.Config(image_size=48, patch_size=1, stem="convolution"),
            "a power of two, 2 or more \\(got 1\\)",
        ),
        (vit.Config(dim=30, num_heads=4), "num_heads 4 does not divide the width 30"),
        (cnn.Config(channels=(8, 8), blocks=(0,)), "must have the same number of stages, at least one."),
        (cnn.Config(channels=(), blocks=()), "at least one"),
        (resnet.Config(widths=(8, 8), depths=(1,)), "must have the same number of stages, at least one."),
        (
            resnet.Config(widths=(8, 8), depths=(1, 0)),
            "must have the same number of stages, at least one, with",
        ),
        (resnet.Config(widths=(), depths=()), "at least one"),
        (resnet.Config(widths=(6,), depths=(1,), form="bottleneck"), "a multiple of 4 \\(got 6\\)"),
    ],
)
def test_impossible_sizes_are_refused(config: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config.build()


@pytest.mark.parametrize("image_size", [30, 33, 40])
def test_a_cnn_takes_sides_that_do_not_halve_evenly(image_size: int) -> None:
    made = cnn.Config(image_size=image_size, channels=(8, 20, 50), blocks=(0, 1, 0)).build()
    features = made(torch.randn(1, 3, image_size, image_size))
    assert features.values.shape[1] == features.grid[1] * features.grid[2]


@pytest.mark.parametrize("stem", ["patch", "convolution"])
def test_both_stems_give_the_same_grid(stem: str) -> None:
    made = vit.Config(image_size=32, patch_size=8, dim=32, depth=1, stem=stem).build()
    assert made(torch.randn(2, 3, 32, 32)).values.shape == (2, 16, 32)


def test_the_patches_are_read_row_by_row() -> None:
    made = vit.Config(image_size=32, patch_size=8, dim=32, depth=1).build()
    pixels = torch.zeros(2, 3, 32, 32)
    pixels[1, :, 8:16, 24:32] = 1  # second row, last column
    one, other = made(pixels).values
    assert (one - other).norm(dim=-1).argmax() == 1 * 4 + 3
