"""The microsteps that a stage will compute, from the real order and lengths of its data, before any of them is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from sightweave.core.batch import Batch, Features, Media
from sightweave.core.errors import DataError, MediaError
from sightweave.data.inputs.collate import Bundle
from sightweave.models.paths import MediaPaths
from sightweave.programs.training.feed import Feed
from sightweave.programs.training.settings import Stage

Rows = Sequence[Sequence[Bundle]]
MOST = 64
"""Microsteps whose lengths are looked at by default."""


@dataclass(frozen=True)
class Microstep:
    """One planned microstep."""

    rows: Rows
    size: int
    """Slots of its rows, padding included; for a stage that learns words, its samples, which bring the media."""
    samples: int
    tokens: int
    """Slots that hold a token."""


class Workload:
    """The first microsteps of a stage.

    Args:
        feed: Feed of the stage.
        most: Maximum number of microsteps to look at; a stage with fewer has fewer.

    Raises:
        DataError: no usable data.
    """

    def __init__(self, feed: Feed, *, most: int = MOST) -> None:
        self.feed, self.stage = feed, feed.stage
        count = min(most, microsteps_of(feed.stage) or most)
        self.microsteps = [_microstep(rows, feed.stage) for rows in islice(feed.planned(), count)]

    @property
    def largest(self) -> Microstep:
        """The one with the most slots, which decides the memory."""
        return max(self.microsteps, key=lambda one: one.size)

    def typical(self, count: int) -> list[Microstep]:
        """The `count` microsteps whose sizes are nearest to the mean; fewer if there are not as many."""
        mean = sum(one.size for one in self.microsteps) / len(self.microsteps)
        nearest = sorted(self.microsteps, key=lambda one: abs(one.size - mean))
        return nearest[:count]

    @property
    def samples(self) -> float:
        """Mean samples of a microstep."""
        return sum(one.samples for one in self.microsteps) / len(self.microsteps)

    @property
    def tokens(self) -> float:
        """Mean tokens of a microstep, without padding."""
        return sum(one.tokens for one in self.microsteps) / len(self.microsteps)

    def other_size(self) -> tuple[float, Rows] | None:
        """Rows like those of the largest microstep, but twice or half as many, and that factor; None for a single row."""
        rows = self.largest.rows
        others = [one for one in self.microsteps if one is not self.largest]
        if others:
            second = max(others, key=lambda one: one.size)
            return 2.0, [*rows, *second.rows]
        half = len(rows) // 2
        return (half / len(rows), rows[:half]) if half else None

    def batch(self, microstep: Microstep) -> Batch:
        """The batch of a microstep, or of the next one whose media can be read.

        Raises:
            MediaError: no microstep can be read.
        """
        start = self.microsteps.index(microstep) if microstep in self.microsteps else 0
        failed: DataError | None = None
        for one in [microstep, *self.microsteps[start + 1 :], *self.microsteps[:start]]:
            try:
                return self.feed.batch_of(one.rows)
            except MediaError as error:
                failed = error
        assert failed is not None
        raise failed


def microsteps_of(stage: Stage) -> int | None:
    """Microsteps of a stage; None for a stage with minutes."""
    return None if stage.steps is None else stage.steps * stage.gradient_accumulation_steps


def _microstep(rows: Rows, stage: Stage) -> Microstep:
    lengths = [sum(one.length for one in row) for row in rows]
    samples = sum(len(one.encoded) for row in rows for one in row)
    is_words = stage.learn == "words"
    return Microstep(
        rows=rows,
        size=samples if is_words else len(lengths) * max(lengths),
        samples=samples,
        tokens=0 if is_words else sum(lengths),
    )


def with_features(batch: Batch, encoders: MediaPaths) -> Batch:
    """The batch with the features of its media, as a full feature cache gives them; on the device of the encoders."""
    media = {modality: _encoded(modality, one, encoders) for modality, one in batch.media.items()}
    return dataclasses.replace(batch, media=media)


@torch.no_grad()
def _encoded(modality: str, media: Media, encoders: MediaPaths) -> Media:
    encoder = encoders.path(modality).encoder
    if isinstance(media.values, Tensor):
        return dataclasses.replace(media, features=encoder(media.values))
    each: list[Features] = [encoder(one[None]) for one in media.values]
    return dataclasses.replace(media, features=tuple(each))


def feature_bytes(batch: Batch) -> Iterator[int]:
    """Bytes of the features of each medium of a batch that has them."""
    for media in batch.media.values():
        features = media.features
        if isinstance(features, Features):
            yield from [features.values.nbytes // max(1, len(features.values))] * len(features.values)
        elif features is not None:
            yield from [one.values.nbytes for one in features]
