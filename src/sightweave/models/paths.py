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
        places = (media.item, media.row, media.segment, media.branch)
        if isinstance(given, tuple):
            embedded = self._of_many_sizes(given)
            embeddings, sizes = torch.cat(embedded), [len(one) for one in embedded]
            counts = torch.tensor(sizes, device=embeddings.device)
            spread = [one.repeat_interleave(counts, output_size=len(embeddings)) for one in places]
        else:
            features = given if isinstance(given, Features) else self.encoder(given)
            dense = self.connector(features)  # I Q D
            embeddings, sizes = dense.flatten(0, 1), [dense.shape[1]] * len(media.rows or ())
            spread = [one.repeat_interleave(dense.shape[1]) for one in places]

        item, row, segment, branch = spread
        lengths = None if media.rows is None else _lengths(media.rows, sizes)
        return MediaEmbeddings(embeddings, item, row, segment, branch, lengths=lengths)

    def _of_many_sizes(self, media: Sequence[Tensor | Features]) -> list[Tensor]:
        """Embeddings (Q D) of each medium, for media of different sizes.

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

        return [embedded[number] for number in range(len(media))]

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


def _lengths(rows: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Number of embeddings in each row of the batch, from the row and the size of each medium."""
    lengths = [0] * (max(rows, default=-1) + 1)
    for row, size in zip(rows, sizes, strict=True):
        lengths[row] += size
    return tuple(lengths)


def _joined_lengths(made: Sequence[MediaEmbeddings]) -> tuple[int, ...] | None:
    """Number of embeddings of all modalities in each row; None if the number is unknown for a modality."""
    total: list[int] = []
    for one in made:
        if one.lengths is None:
            return None
        total += [0] * (len(one.lengths) - len(total))
        for row, length in enumerate(one.lengths):
            total[row] += length
    return tuple(total)


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
            lengths=_joined_lengths(made),
        )


def _inner(modality: str) -> str:
    return modality.replace(".", ":")
