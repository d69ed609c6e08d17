"""The interface of modalities: how their media are measured, read, augmented and compared.

A modality is a file in this folder, or a user's own module, which a recipe names by its dotted path. The module has a
``Config``, whose ``build()`` returns the loader, and the loader's class, called ``Loader``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightweave.core.batch import Values
from sightweave.core.errors import MediaError
from sightweave.core.types import Medium


@dataclass(frozen=True, slots=True)
class Loaded:
    """Loaded media of one modality."""

    values: Values
    """Input for the encoder."""
    sizes: Sequence[tuple[int, int]] = ()
    """Width and height in pixels of each image before resizing; empty for modalities without regions."""


class Loader:
    """Base class of loaders, which read the media of one modality; methods must be thread-safe.

    A new modality must implement `size`, `value`, `blank` and `example`.
    """

    def size(self, medium: Medium) -> tuple[int, ...]:
        """Size of a medium along each axis except the channels, determined from its header without decoding.

        Raises:
            MediaError: The medium cannot be read.
        """
        raise NotImplementedError(type(self).__name__)

    def value(self, medium: Medium, seed: int | None = None) -> Tensor:
        """Reads the values of one medium: a float tensor with the channels C first, followed by the other axes.

        Args:
            medium: A medium of this modality.
            seed: Augmentation seed; equal seeds must give equal values. None turns augmentation off.

        Raises:
            MediaError: The medium cannot be read.
        """
        raise NotImplementedError(type(self).__name__)

    def load(
        self,
        media: Sequence[Medium],
        seeds: Sequence[int] | None = None,
        *,
        fixed: frozenset[str] = frozenset(),
        pool: Executor | None = None,
    ) -> Loaded:
        """Loads media as input for the encoder; media with equal keys and seeds are read once.

        Args:
            media: Media of this modality.
            seeds: Augmentation seed of each medium; None turns augmentation off.
            fixed: Keys of media that must not be mirrored, because their texts mention left or right.
            pool: Threads that decode media, which do not change the result; None decodes in this thread.

        Raises:
            MediaError: A medium cannot be read; if there are several, the error is that of the first one.
        """
        known: dict[tuple[str, int | None], Tensor] = {}
        values = []
        for number, medium in enumerate(media):
            seed = None if seeds is None else seeds[number]
            if (medium.key, seed) not in known:
                known[medium.key, seed] = self.value(medium, seed)
            values.append(known[medium.key, seed])

        is_even = len({one.shape for one in values}) == 1
        return Loaded(torch.stack(values) if is_even else tuple(values))

    @staticmethod
    def check(medium: Medium) -> None:
        """Checks that a medium can be read, reading at most its header; by default, checks that its file exists.

        Raises:
            MediaError: The medium cannot be read.
        """
        if isinstance(medium.source, Path) and not medium.source.is_file():
            raise MediaError("medium_missing", f"{medium.source}: file not found.")

    def pieces(self, medium: Medium) -> list[Medium]:
        """The media that a model reads in place of a medium: the medium itself, followed by its pieces, if any."""
        return [medium]

    @staticmethod
    def digest(medium: Medium) -> str:
        """SHA-256 of a medium's file, or of its values if it has no file, as 64 hexadecimal digits.

        Raises:
            MediaError: The medium cannot be read.
        """
        return digest(medium)

    @classmethod
    def contents(cls, media: Sequence[Medium]) -> dict[Medium, str]:
        """A name for the content of each medium, such that two media have the same name if and only if they are equal.

        A medium that cannot be read is named by its key.
        """
        names = {}
        for medium in media:
            try:
                names[medium] = cls.digest(medium)
            except MediaError:
                names[medium] = f"unreadable {medium.key}"
        return names

    @staticmethod
    def blank(medium: Medium) -> Medium:
        """A medium without content to replace a given one, such as an entirely grey image."""
        raise NotImplementedError

    @staticmethod
    def example(number: int) -> Medium:
        """A synthetic medium, different for each number, with which the wiring of a model is checked."""
        raise NotImplementedError


def digest(medium: Medium) -> str:
    """SHA-256 of the file, bytes or array of a medium of any modality, as 64 hexadecimal digits.

    Raises:
        MediaError: The file cannot be read, or the source has another type.
    """
    source: Any = medium.source() if callable(medium.source) else medium.source
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise MediaError(
                "medium_unreadable", f"{source}: cannot be read ({error.strerror or error})."
            ) from None
    if isinstance(source, bytes | bytearray | memoryview):
        return hashlib.sha256(source).hexdigest()
    if isinstance(source, np.ndarray):
        about = f"{source.dtype.str} {source.shape} ".encode()
        return hashlib.sha256(about + np.ascontiguousarray(source).tobytes()).hexdigest()
    raise MediaError(
        "medium_source",
        f"{medium.key!r}: a medium is a path, bytes, a numpy array or a function that returns one of the latter "
        f"(got {type(source).__name__}).",
    )
