"""Another library's image encoder as one of ours: its grid, and the weights that have a use."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sightweave.models.nn import picture


class Pictures(nn.Module):
    """Patches with tokens before them, a head that the features do not depend on, and a weight that nobody reads."""

    def __init__(self, extra: int = 0) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.BatchNorm2d(8)
        self.extra = nn.Parameter(torch.zeros(extra, 8))
        self.head = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
        self.mask_token = nn.Parameter(torch.zeros(8))

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = self.norm(self.patches(pixels)).flatten(2).transpose(1, 2)
        self.head(hidden.mean(1))
        return torch.cat([self.extra.expand(len(hidden), -1, -1), hidden], 1)


def encode(model: nn.Module, pixels: Tensor) -> Tensor:
    return model(pixels)  # type: ignore[no-any-return]


@pytest.mark.parametrize("extra", [0, 1, 5])
def test_tokens_before_the_grid_stay_behind(extra: int) -> None:
    with torch.device("meta"):
        probe = Pictures(extra)
    shape = picture.measure(probe, encode, image_size=16, patch_size=4)
    assert (shape.grid, shape.extra, shape.dim) == ((1, 4, 4), extra, 8)
    output = torch.arange(extra + 16.0)[None, :, None]
    assert shape.features(output)[0, 0, 0] == extra


@pytest.mark.parametrize(
    ("size", "patch", "grid", "extra"),
    [
        ((1, 32, 3, 5), None, (1, 3, 5), 0),
        ((1, 49, 32), None, (1, 7, 7), 0),
        ((1, 49, 32), 4, (1, 7, 7), 0),
        ((1, 50, 32), 32, (1, 7, 7), 1),
    ],
)
def test_the_shape_of_an_output(
    size: tuple[int, ...], patch: int | None, grid: tuple[int, ...], extra: int
) -> None:
    shape = picture.Shape(torch.Size(size), image_size=224, patch_size=patch)
    assert (shape.grid, shape.extra, shape.dim) == (grid, extra, 32)


@pytest.mark.parametrize("size", [(1, 32), (1, 1010, 32)])
def test_what_is_no_grid_is_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"is not a square grid|is not a grid"):
        picture.Shape(torch.Size(size), image_size=224, patch_size=None)


def test_what_cannot_be_read_is_refused() -> None:
    with torch.device("meta"):
        probe = Pictures()
    with pytest.raises(ValueError, match="cannot encode images of 3 x 3 pixels"):
        picture.measure(probe, encode, image_size=3, patch_size=4)


def test_weights_without_a_use_are_found_and_dropped() -> None:
    with torch.device("meta"):
        probe = Pictures(1)
    unused = picture.unused(probe, encode, image_size=16)
    assert unused == {"head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias", "mask_token"}
    model = Pictures(1).eval()
    pixels = torch.randn(2, 3, 16, 16)
    before = model(pixels)
    picture.drop(model, unused)
    assert not unused & {name for name, _ in model.named_parameters()}
    assert model(pixels).equal(before)


def test_learnt_statistics_are_kept() -> None:
    model = Pictures().train()
    picture.keep_statistics(model)
    model(torch.randn(4, 3, 16, 16))
    assert not model.norm.running_mean.any()
    assert model.patches.training


def test_no_picture_has_no_features() -> None:
    shape = picture.Shape(torch.Size((1, 32, 3, 5)), image_size=224, patch_size=None)

    def refuse(pixels: Tensor) -> Tensor:
        raise AssertionError("asked about nothing")

    found = shape.encode(torch.zeros(0, 3, 224, 224), refuse)
    assert (found.values.shape, found.grid) == ((0, 15, 32), (1, 3, 5))
