"""Every image tokenizer: grids of codes of a known size, codes that decode to themselves, and clear refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sightweave.core import catalog
from sightweave.core.errors import DataError, MediaError
from sightweave.models.image_tokenizers._base import ImageTokenizer

KINDS = catalog.kinds("models.image_tokenizers")


def tokenizer(kind: str) -> ImageTokenizer:
    torch.manual_seed(0)
    made: ImageTokenizer = catalog.config_class("models.image_tokenizers", kind)(image_size=32).build()
    return made


def pixels(*size: int) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
def test_images_become_a_grid_of_codes_and_codes_images_of_the_same_size(kind: str) -> None:
    made = tokenizer(kind)
    rows, columns = made.grid
    assert (rows * made.stride, columns * made.stride) == (32, 32)

    codes = made.encode(pixels(2, 3, 32, 32))
    assert codes.shape == (2, rows, columns)
    assert codes.dtype == torch.int64
    assert 0 <= int(codes.min()) <= int(codes.max()) < made.num_codes
    assert made.vectors(codes).shape == (2, rows, columns, made.code_dim)

    # Images of another shape, such as a strip of text.
    strip = pixels(1, 3, made.stride, 3 * made.stride)
    decoded = made.decode(made.encode(strip)).detach()
    assert decoded.shape == strip.shape
    assert 0 <= float(decoded.min()) <= float(decoded.max()) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_different_codes_have_different_vectors(kind: str) -> None:
    made = tokenizer(kind)
    vectors = made.vectors(torch.arange(made.num_codes))
    assert len(vectors.unique(dim=0)) == made.num_codes
    assert bool(vectors.isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_inference_agree_and_gradients_reach_every_weight(kind: str) -> None:
    made = tokenizer(kind)
    for parameter in made.parameters():
        if not parameter.any():  # residual blocks begin as the identity
            torch.nn.init.normal_(parameter, std=0.1)

    images = pixels(2, 3, 32, 32)
    reconstructed = made(images)
    torch.testing.assert_close(reconstructed.clamp(0, 1), made.decode(made.encode(images)))
    (reconstructed - images).abs().mean().backward()
    silent = [name for name, one in made.named_parameters() if one.grad is None or not one.grad.any()]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS)
def test_another_image_of_the_batch_changes_nothing(kind: str) -> None:
    made = tokenizer(kind).train()
    images = pixels(3, 3, 32, 32)
    other = images.clone()
    other[1] = 1 - other[1]
    assert torch.equal(made.encode(images)[[0, 2]], made.encode(other)[[0, 2]])
    torch.testing.assert_close(made(images)[[0, 2]], made(other)[[0, 2]], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_sizes_and_codes_are_refused(kind: str) -> None:
    made = tokenizer(kind)
    with pytest.raises(MediaError, match=f"an image of 33 x 32 pixels .* multiples of {made.stride}"):
        made.encode(pixels(1, 3, 32, 33))
    for wrong in (-1, made.num_codes):
        with pytest.raises(
            DataError, match=f"image code {wrong} is out of range.* 0 to {made.num_codes - 1}"
        ):
            made.decode(torch.tensor([[[0, wrong]]]))


@pytest.mark.parametrize("kind", KINDS)
def test_no_images_give_no_codes(kind: str) -> None:
    made = tokenizer(kind)
    rows, columns = made.grid
    codes = made.encode(torch.zeros(0, 3, 32, 32))
    assert codes.shape == (0, rows, columns)
    assert made.decode(codes).shape == (0, 3, 32, 32)
