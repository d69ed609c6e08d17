"""Every encoder and connector: counts are known before pixels are, and pictures do not see one another."""

from __future__ import annotations

import pytest
import torch
from contracts._compose import nudge, small
from contracts._folders import installed

from sightweave.core import catalog
from sightweave.core.batch import Features
from sightweave.models.encoders._base import Encoder

ENCODERS = installed("models.encoders")
CONNECTORS = catalog.kinds("models.connectors")
GRIDS = [(1, 4, 4), (1, 8, 8), (1, 6, 4), (3, 4, 4), (1, 12, 6)]


def encoder(kind: str, **fields: object) -> Encoder:
    torch.manual_seed(0)
    made: Encoder = small("models.encoders", kind, **fields).build()
    nudge(made)
    return made


@pytest.mark.parametrize("image_size", [16, 32, 48, 64])
@pytest.mark.parametrize("kind", ENCODERS)
def test_the_grid_is_what_is_produced(kind: str, image_size: int) -> None:
    made = encoder(kind, image_size=image_size)
    features = made(torch.randn(2, 3, image_size, image_size))
    times, rows, columns = made.grid()
    assert features.grid == made.grid()
    assert features.values.shape == (2, times * rows * columns, made.dim)
    assert made.image_size == image_size


@pytest.mark.parametrize("kind", ENCODERS)
def test_another_picture_of_the_batch_changes_nothing_in_training(kind: str) -> None:
    made = encoder(kind).train()
    pixels = torch.randn(3, 3, 32, 32)
    other = pixels.clone()
    other[1] = torch.randn(3, 32, 32) * 5
    one, two = made(pixels).values, made(other).values
    torch.testing.assert_close(one[[0, 2]], two[[0, 2]], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(one[1], two[1], atol=1e-3)


def test_batch_statistics_are_the_named_exception() -> None:
    made = encoder("cnn", norm="batch").train()
    pixels = torch.randn(3, 3, 32, 32)
    other = pixels.clone()
    other[1] *= 5
    assert not torch.allclose(made(pixels).values[0], made(other).values[0], atol=1e-3)
    made.eval()
    torch.testing.assert_close(made(pixels).values[0], made(other).values[0])


@pytest.mark.parametrize("kind", ENCODERS)
def test_no_pictures_give_no_features(kind: str) -> None:
    made = encoder(kind).eval()
    times, rows, columns = made.grid()
    assert made(torch.zeros(0, 3, made.image_size, made.image_size)).values.shape == (
        0,
        times * rows * columns,
        made.dim,
    )


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_memory_order_of_pixels_does_not_matter(kind: str) -> None:
    made = encoder(kind)
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(
        made(pixels.contiguous(memory_format=torch.channels_last)).values,
        made(pixels).values,
        atol=1e-6,
        rtol=1e-6,
    )


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", CONNECTORS)
def test_the_number_of_embeddings_is_exact(kind: str, grid: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    made = small("models.connectors", kind).build(in_dim=16, out_dim=32, grid=grid)
    times, rows, columns = grid
    values = torch.randn(2, times * rows * columns, 16)
    embeddings = made(Features(values, grid))
    assert embeddings.shape == (2, made.num_tokens(grid), 32)
    places = made.out_grid(grid)
    if places is not None:
        assert places[0] * places[1] * places[2] == made.num_tokens(grid)


@pytest.mark.parametrize("kind", CONNECTORS)
def test_another_picture_of_the_batch_changes_no_embedding(kind: str) -> None:
    torch.manual_seed(0)
    made = small("models.connectors", kind).build(in_dim=16, out_dim=32, grid=(1, 4, 4))
    nudge(made)
    made.train()
    values = torch.randn(3, 16, 16)
    other = values.clone()
    other[1] += 1
    one, two = made(Features(values, (1, 4, 4))), made(Features(other, (1, 4, 4)))
    torch.testing.assert_close(one[[0, 2]], two[[0, 2]], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(one[1], two[1], atol=1e-3)


@pytest.mark.parametrize("kind", CONNECTORS)
def test_where_a_connector_keeps_places_each_embedding_depends_most_on_its_own(kind: str) -> None:
    torch.manual_seed(0)
    grid = (1, 4, 4)
    made = small("models.connectors", kind).build(in_dim=16, out_dim=32, grid=grid)
    places = made.out_grid(grid)
    if places is None:
        return
    values = torch.randn(1, 16, 16)
    changed = values.clone()
    changed[0, 0] += 3  # the top left cell
    changed[0, 15] -= 3  # the bottom right cell
    moved = (made(Features(changed, grid)) - made(Features(values, grid)))[0].norm(dim=-1)
    assert set(moved.topk(2).indices.tolist()) == {0, made.num_tokens(grid) - 1}
