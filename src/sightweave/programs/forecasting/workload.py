"""Plans the microsteps of a stage from the real order and lengths of its data, before any of them is computed."""

from __future__ import annotations

import contextlib
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
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.settings import Stage

Rows = Sequence[Sequence[Bundle]]
MOST = 64
"""Default number of microsteps whose lengths are considered."""


class Unlogged(Quarantine):
    """Leaves samples out like training, but does not report them, because training will."""

    def add(self, key: str, error: DataError) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class Microstep:
    """One planned microstep."""

    rows: Rows
    size: int
    """Number of slots in its rows, including padding; for a stage that reads no text, its number of samples."""
    samples: int
    tokens: int
    """Number of slots that contain a token."""


class Workload:
    """The first microsteps of a stage.

    Args:
        feed: Feed of the stage.
        most: Maximum number of microsteps to consider.

    Raises:
        DataError: there is no usable data.
    """

    def __init__(self, feed: Feed, *, most: int = MOST) -> None:
        self.feed, self.stage = feed, feed.stage
        count = min(most, microsteps_of(feed.stage) or most)
        found = [_microstep(rows, feed.stage) for rows in islice(feed.planned(), count)]

        by_size = sorted(found, key=lambda one: -one.size)
        mean = sum(one.size for one in found) / len(found)
        nearest = sorted(found, key=lambda one: abs(one.size - mean))
        self.largest = by_size[0]
        """The microstep with the most slots, which determines the memory."""
        self.second = by_size[1] if len(by_size) > 1 else None
        """The microstep with the second most slots; None if there is only one microstep."""
        self._typical = nearest[: feed.stage.gradient_accumulation_steps]

        # Drop the rows of all other microsteps, because their samples would take more memory than a small model.
        kept = {id(one) for one in (self.largest, self.second, *self._typical)}
        self.microsteps = [one if id(one) in kept else dataclasses.replace(one, rows=()) for one in found]
        """All microsteps in order, most of them without rows."""

    def typical(self, count: int) -> list[Microstep]:
        """`count` microsteps whose sizes are nearest to the mean; if there are fewer, they are repeated."""
        return [self._typical[number % len(self._typical)] for number in range(count)]

    @property
    def samples(self) -> float:
        """Mean number of samples in a microstep."""
        return sum(one.samples for one in self.microsteps) / len(self.microsteps)

    @property
    def tokens(self) -> float:
        """Mean number of tokens in a microstep, without padding."""
        return sum(one.tokens for one in self.microsteps) / len(self.microsteps)

    def other_size(self) -> tuple[float, Rows] | None:
        """Rows like those of the largest microstep, but twice or half as many, preceded by this factor.

        None if the only microstep has a single row.
        """
        rows = self.largest.rows
        if self.second is not None:
            return 2.0, [*rows, *self.second.rows]
        half = len(rows) // 2
        return (half / len(rows), rows[:half]) if half else None

    def batch(self, microstep: Microstep) -> Batch:
        """The batch of a microstep, or of the first microstep whose media can be read.

        Raises:
            MediaError: the media of no microstep can be read.
        """
        try:
            return self.feed.batch_of(microstep.rows)
        except MediaError as error:
            failed = error
        for rows in islice(self.feed.planned(), len(self.microsteps)):
            with contextlib.suppress(MediaError):
                return self.feed.batch_of(rows)
        raise failed


def microsteps_of(stage: Stage) -> int | None:
    """Number of microsteps in a stage; None for a stage with minutes."""
    return None if stage.steps is None else stage.steps * stage.gradient_accumulation_steps


def _microstep(rows: Rows, stage: Stage) -> Microstep:
    lengths = [sum(one.length for one in row) for row in rows]
    samples = sum(len(one.encoded) for row in rows for one in row)
    return Microstep(
        rows=rows,
        size=len(lengths) * max(lengths) if stage.reads_text else samples,
        samples=samples,
        tokens=sum(lengths) if stage.reads_text else 0,
    )


def with_features(batch: Batch, encoders: MediaPaths) -> Batch:
    """A copy of the batch with the features of its media, as in a full feature cache, on the device of the encoders."""
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
    """Yields the size in bytes of the features of each medium in a batch with features."""
    for media in batch.media.values():
        features = media.features
        if isinstance(features, Features):
            yield from [features.values.nbytes // max(1, len(features.values))] * len(features.values)
        elif features is not None:
            yield from [one.values.nbytes for one in features]
