"""What every modality provides: how its media are measured, read, augmented and distinguished.

A modality is a file in this folder, or a user's own module that a recipe names by its dotted path. It has a ``Config``,
whose ``build()`` returns its loader, and the loader's class is called ``Loader``.
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
    """Media that were read."""

    values: Values
    """The input for the encoder."""
    sizes: Sequence[tuple[int, int]] = ()
    """Width and height in pixels of each image before it was resized; empty for media without locations."""


class Loader:
    """Reads the media of one modality; several threads may call it.

    A new modality must implement `size`, `value`, `blank` and `example`.
    """

    def size(self, medium: Medium) -> tuple[int, ...]:
        """Size of a medium along each axis except the channels, from its header: nothing is decoded.

        Raises:
            MediaError: It cannot be read.
        """
        raise NotImplementedError(type(self).__name__)

    def value(self, medium: Medium, seed: int | None = None) -> Tensor:
        """The values of one medium: float C, then its other axes.

        Args:
            medium: Of this modality.
            seed: Seed of the augmentation for training, which is deterministic. None leaves the medium as it is.

        Raises:
            MediaError: It cannot be read.
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
        """Media as the encoder reads them; equal keys with equal seeds are read once.

        Args:
            media: Of this modality.
            seeds: Seeds of the augmentation of each medium; None leaves all as they are.
            fixed: Keys of media whose texts mention left or right: they are not mirrored.
            pool: Threads that decode; they do not affect the result. None decodes in this thread.

        Raises:
            MediaError: A medium cannot be read; with several, the first of them.
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
        """Checks whether a medium can be read, reading at most its header; by default, whether its file exists.

        Raises:
            MediaError: It cannot be read.
        """
        if isinstance(medium.source, Path) and not medium.source.is_file():
            raise MediaError("medium_missing", f"{medium.source}: file not found.")

    def pieces(self, medium: Medium) -> list[Medium]:
        """A medium as the model sees it: the medium itself, and any pieces that it is cut into."""
        return [medium]

    @staticmethod
    def digest(medium: Medium) -> str:
        """SHA-256 of the file of a medium, or of its values if it has none: 64 hexadecimal digits.

        Raises:
            MediaError: It cannot be read.
        """
        return digest(medium)

    @classmethod
    def contents(cls, media: Sequence[Medium]) -> dict[Medium, str]:
        """A name for the content of each medium; two media have the same name if and only if their contents are equal.

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
        """A medium of the same kind without content, such as an entirely grey image."""
        raise NotImplementedError

    @staticmethod
    def example(number: int) -> Medium:
        """A synthetic medium, different for each number, for the checks of a model's wiring."""
        raise NotImplementedError


def digest(medium: Medium) -> str:
    """SHA-256 of the file, bytes or array of a medium of any modality.

    Raises:
        MediaError: The file cannot be read, or the source is something else.
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
