"""Computes embeddings from media: an encoder and its connector for each modality, joined in the order of the media."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sightweave.core.batch import Features, Media, MediaEmbeddings
from sightweave.core.errors import RecipeError
from sightweave.core.types import MediaLayout
from sightweave.models.connectors._base import Connector
from sightweave.models.encoders._base import Encoder


class MediaPath(nn.Module):
    """An encoder and its connector, which map decoded media of one modality to embeddings of the language model's width.

    Raises:
        RecipeError: the encoder reads media of any size, but the number of embeddings that the connector returns is
            neither fixed nor equal to the number of the encoder's features.
    """

    def __init__(self, encoder: Encoder, connector: Connector) -> None:
        super().__init__()
        self.encoder, self.connector = encoder, connector
        self.layout = _layout(encoder, connector)

    def forward(self, media: Media) -> MediaEmbeddings:
        """Computes the embeddings of each medium."""
        given = media.values if media.features is None else media.features
        if isinstance(given, tuple):
            embeddings, counts = self._of_many_sizes(given)
        else:
            features = given if isinstance(given, Features) else self.encoder(given)
            dense = self.connector(features)  # I Q D
            embeddings, counts = dense.flatten(0, 1), dense.shape[1]

        spread = [x.repeat_interleave(counts) for x in (media.item, media.row, media.segment, media.branch)]
        return MediaEmbeddings(embeddings, *spread)

    def _of_many_sizes(self, media: Sequence[Tensor | Features]) -> tuple[Tensor, Tensor]:
        """Embeddings (E D) of media of different sizes, in order, and the number of embeddings of each medium (int64 I).

        Media of the same size are encoded together. This needs no padding, and the other media have no influence on the
        result.
        """
        alike: dict[tuple[int, ...], list[int]] = {}
        for number, one in enumerate(media):
            shape = one.grid if isinstance(one, Features) else tuple(one.shape)
            alike.setdefault(shape, []).append(number)

        embedded: dict[int, Tensor] = {}
        for numbers in alike.values():
            dense = self.connector(self._features([media[number] for number in numbers]))
            embedded.update(zip(numbers, dense, strict=True))

        ordered = [embedded[number] for number in range(len(media))]
        counts = torch.tensor([len(one) for one in ordered], device=ordered[0].device)
        return torch.cat(ordered), counts

    def _features(self, alike: Sequence[Tensor | Features]) -> Features:
        """Features of media of one size; media that are not features yet are encoded."""
        values: list[Tensor] = []
        grid: tuple[int, int, int] | None = None
        for one in alike:
            if isinstance(one, Features):
                grid = one.grid
                values.append(one.values)
            else:
                values.append(one[None])

        stacked = torch.cat(values)
        return self.encoder(stacked) if grid is None else Features(stacked, grid)


def _layout(encoder: Encoder, connector: Connector) -> MediaLayout:
    grid = encoder.grid()
    places = connector.out_grid(grid)
    if not encoder.stride:
        return MediaLayout(tokens=connector.num_tokens(grid), grid=places and (places[1], places[2]))
    if places is None:  # the connector has a fixed number of queries
        return MediaLayout(tokens=connector.num_tokens(grid))

    # Doubling the grid distinguishes a connector that keeps any grid from one that happens to output this one.
    twice = (2 * grid[0], 2 * grid[1], 2 * grid[2])
    if (connector.out_grid(grid), connector.out_grid(twice)) != (grid, twice):
        raise RecipeError(
            f"connector {type(connector).__name__} makes {places} of the grid {grid}, but {type(encoder).__name__} reads "
            "media of any size, whose grids differ; use linear, mlp or resampler for it."
        )
    return MediaLayout(stride=encoder.stride)


class MediaPaths(nn.ModuleDict):
    """One path for each modality, by name; a dot in the name of a user's own module is stored as ``:``."""

    # Torch joins the names of modules with dots, so that a name must not contain one.

    def __init__(self, paths: Mapping[str, MediaPath]) -> None:
        super().__init__({_inner(modality): path for modality, path in paths.items()})

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order of the recipe."""
        return tuple(name.replace(":", ".") for name in self)

    def path(self, modality: str) -> MediaPath:
        """The path of one modality.

        Raises:
            KeyError: the model does not read this modality.
        """
        return self[_inner(modality)]  # type: ignore[return-value]  # ModuleDict forgets the type

    def embed(self, media: Mapping[str, Media]) -> MediaEmbeddings | None:
        """Embeddings of all media in a batch, in the order of their numbers; None if there are no media."""
        made = [self.path(modality)(one) for modality, one in media.items()]
        if len(made) <= 1:
            return made[0] if made else None

        # The rows of text may alternate between modalities, so the order of the media is restored.
        order = torch.cat([one.item for one in made]).argsort(stable=True)

        def joined(name: str) -> Tensor:
            return torch.cat([getattr(one, name) for one in made])[order]

        return MediaEmbeddings(
            embeddings=joined("embeddings"),
            item=joined("item"),
            row=joined("row"),
            segment=joined("segment"),
            branch=joined("branch"),
        )


def _inner(modality: str) -> str:
    return modality.replace(".", ":")
