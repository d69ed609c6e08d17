"""From media to embeddings: sizes, layouts, and the order over modalities."""

from __future__ import annotations

import pytest
import torch
from contracts.series.encoder import Config as SeriesConfig

from sightweave.core.batch import Features, Media
from sightweave.core.errors import RecipeError
from sightweave.core.types import MediaLayout
from sightweave.models.connectors import linear, pixel_shuffle, pool, resampler
from sightweave.models.encoders import vit
from sightweave.models.paths import MediaPath, MediaPaths

WIDTH = 8


def series_path(connector: object = None) -> MediaPath:
    torch.manual_seed(0)
    encoder = SeriesConfig(dim=8).build()
    made = connector or linear.Config()
    return MediaPath(encoder, made.build(in_dim=8, out_dim=WIDTH, grid=encoder.grid())).eval()  # type: ignore[attr-defined]  # a Config


def image_path() -> MediaPath:
    encoder = vit.Config(image_size=16, patch_size=8, dim=16, depth=1, num_heads=2).build()
    return MediaPath(encoder, linear.Config().build(in_dim=16, out_dim=WIDTH, grid=encoder.grid())).eval()


def media(lengths: list[int], items: list[int]) -> Media:
    values = tuple(
        torch.randn(1, length, generator=torch.Generator().manual_seed(length)) for length in lengths
    )
    zeros = torch.zeros(len(lengths), dtype=torch.int64)
    return Media(values, torch.tensor(items), zeros, zeros, zeros)


@torch.no_grad()
def test_media_of_many_sizes_are_encoded_as_each_would_be_alone() -> None:
    path = series_path()
    lengths, items = [5, 9, 5, 3, 9], [0, 2, 3, 5, 8]
    found = path(media(lengths, items))
    assert found.item.tolist() == [0, 0, 2, 2, 2, 3, 3, 5, 8, 8, 8]
    alone = [path(media([length], [0])).embeddings for length in lengths]
    torch.testing.assert_close(found.embeddings, torch.cat(alone))


@torch.no_grad()
def test_features_that_are_known_are_not_encoded_again() -> None:
    path = series_path()
    given = media([5, 9], [0, 1])
    features = tuple(path.encoder(one[None]) for one in given.values)
    expected = path(given).embeddings
    given.features, given.values = features, ()
    torch.testing.assert_close(path(given).embeddings, expected)
    assert isinstance(features[0], Features)


@torch.no_grad()
def test_modalities_are_joined_in_the_order_of_their_numbers() -> None:
    paths = MediaPaths({"image": image_path(), "my.series": series_path()})
    assert paths.modalities == ("image", "my.series")
    zeros = torch.zeros(2, dtype=torch.int64)
    images = Media(torch.randn(2, 3, 16, 16), torch.tensor([1, 2]), torch.tensor([0, 1]), zeros, zeros)
    series = media([5, 3], [0, 3])
    series.row = torch.tensor([0, 1])
    found = paths.embed({"image": images, "my.series": series})
    assert found is not None
    assert found.item.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert found.row.tolist() == [0] * 6 + [1] * 5
    torch.testing.assert_close(found.embeddings[2:6], paths.path("image")(images).embeddings[:4])
    assert paths.embed({}) is None


def test_layouts_say_how_many_embeddings_there_will_be() -> None:
    assert image_path().layout == MediaLayout(tokens=4, grid=(2, 2))
    assert series_path().layout == MediaLayout(stride=(4,))
    assert series_path(resampler.Config(num_queries=3)).layout == MediaLayout(tokens=3)
    assert [MediaLayout(stride=(4, 2)).num_tokens(size) for size in ((4, 2), (5, 2), (9, 3))] == [1, 2, 6]


@pytest.mark.parametrize("connector", [pool.Config(side=1), pixel_shuffle.Config(factor=1)])
def test_connectors_that_want_one_grid_are_refused_for_any_size(connector: object) -> None:
    if isinstance(connector, pixel_shuffle.Config):  # with factor 1 it keeps every grid
        assert series_path(connector).layout == MediaLayout(stride=(4,))
        return
    with pytest.raises(RecipeError, match=r"Pool makes .* use linear, mlp or resampler"):
        series_path(connector)
