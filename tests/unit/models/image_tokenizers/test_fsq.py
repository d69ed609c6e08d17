"""Finite scalar quantization: a bijection between numbers and the points of a grid, of which every one can be reached."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from sightweave.core import checkpoint
from sightweave.core.errors import CheckpointError
from sightweave.models.image_tokenizers.fsq import Config, Fsq, Quantizer

LEVELS = [(8, 6, 5, 5), (5, 6, 8, 5), (2, 2, 2), (7,), (2, 3, 4), (8, 8, 8, 5, 5, 5)]


@pytest.mark.parametrize("levels", LEVELS)
def test_numbers_and_points_are_a_bijection_over_the_whole_grid(levels: tuple[int, ...]) -> None:
    quantizer = Quantizer(levels)
    codes = torch.arange(math.prod(levels))
    assert quantizer.num_codes == len(codes)
    points = quantizer.vectors(codes)
    assert torch.equal(quantizer.numbers(points), codes)
    # Each channel has as many values as levels, evenly spaced and at most 1 from the middle.
    for channel, count in enumerate(levels):
        values = points[:, channel].unique()
        assert len(values) == count
        torch.testing.assert_close(values.diff(), torch.full((count - 1,), 1 / (count // 2)))
        assert float(values.abs().max()) == 1


@pytest.mark.parametrize("levels", LEVELS[:5])
def test_every_level_is_reached_in_order(levels: tuple[int, ...]) -> None:
    quantizer = Quantizer(levels)
    values = torch.linspace(-6, 6, 241)
    # One channel at a time, since they are quantized separately.
    for channel, count in enumerate(levels):
        latent = torch.zeros(len(values), len(levels))
        latent[:, channel] = values
        digits = quantizer.numbers(quantizer(latent)) // quantizer.places[channel] % count
        assert digits.unique().tolist() == list(range(count))
        assert bool((digits.diff() >= 0).all())


def test_the_gradient_is_that_of_the_values_before_rounding() -> None:
    quantizer = Quantizer((8, 5))
    latent = torch.tensor([[0.3, -0.2], [1.5, 0.9]], requires_grad=True)
    quantizer(latent).sum().backward()
    assert latent.grad is not None
    rounded = latent.grad.clone()

    latent.grad = None
    (quantizer._bounded(latent) / torch.tensor([4.0, 2.0])).sum().backward()
    torch.testing.assert_close(rounded, latent.grad)


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
def test_strides(stride: int) -> None:
    made = Config(image_size=64, stride=stride, channels=8, max_channels=16).build()  # type: ignore[arg-type]  # one of those
    assert made.encode(torch.rand(1, 3, 64, 64)).shape == (1, 64 // stride, 64 // stride)
    assert made.grid == (64 // stride, 64 // stride)
    assert made.num_codes == 8 * 6 * 5 * 5


def test_it_learns_a_few_images() -> None:
    torch.manual_seed(0)
    made = Fsq(image_size=16, stride=4, channels=16, max_channels=32)
    # Squares of one colour each: what a code of one square can hold.
    images = torch.rand(4, 3, 4, 4).repeat_interleave(4, -1).repeat_interleave(4, -2)
    optimizer = torch.optim.AdamW(made.parameters(), 3e-3)
    errors = []
    for _ in range(150):
        error = (made(images) - images).abs().mean()
        error.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        optimizer.zero_grad()
        errors.append(error.item())
    assert errors[-1] < errors[0] / 3
    with torch.no_grad():
        decoded = made.decode(made.encode(images))
    grey = (images - images.mean()).abs().mean()
    assert (decoded - images).abs().mean() < grey / 2


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="image_size 60 is not a multiple of the stride 8"):
        Fsq(image_size=60)
    with pytest.raises(ValueError, match=r"stride must be a power of 2, at least 2 \(got 12\)"):
        Fsq(image_size=48, stride=12)
    with pytest.raises(
        ValueError, match=r"levels must have at least one channel, each with 2 or more \(got \[8, 1\]\)"
    ):
        Fsq(levels=(8, 1))


def test_weights_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    # The same shapes, but a code means another point.
    one = Fsq(image_size=16, levels=(8, 6, 5, 5), channels=8)
    other = Fsq(image_size=16, levels=(5, 6, 8, 5), channels=8)
    checkpoint.write_folder(tmp_path / "one", {"model": one.state_dict()})
    checkpoint.load_into(Fsq(image_size=16, levels=(8, 6, 5, 5), channels=8), tmp_path / "one")
    with pytest.raises(CheckpointError, match=r"levels \[8, 6, 5, 5\], but this one has \[5, 6, 8, 5\]"):
        checkpoint.load_into(other, tmp_path / "one")
    with pytest.raises(CheckpointError, match="shape"):
        checkpoint.load_into(Fsq(image_size=16, levels=(8, 8), channels=8), tmp_path / "one")
