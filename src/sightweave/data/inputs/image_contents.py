"""Which pictures are the same picture, whatever they are called.

Names prove nothing: copies of one photograph lie in a dataset under many names. Two pictures are the same if their
decoded pixels are equal, so a copy whose metadata or lossless format changed still counts as a copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files

_GLANCE = (64, 64)
"""Pixels that are enough to tell most pictures apart; a JPEG file is then decoded at an eighth of its size."""


def contents(given: Iterable[Medium]) -> dict[Medium, str]:
    """A name for what each picture shows: equal for two pictures exactly where their pixels are equal.

    Every distinct file is read once and decoded at a reduced scale; only pictures that look the same at that scale are
    decoded in full. A picture that cannot be read is named by its key, and equals only pictures of the same key.
    """
    distinct = list(dict.fromkeys(given))
    files = {medium: _file_of(medium) for medium in distinct}

    # One picture stands for all that come from the same bytes.
    first: dict[str, Medium] = {}
    for medium, file in files.items():
        first.setdefault(file, medium)

    glances: dict[str, list[str]] = {}
    for file, medium in first.items():
        glances.setdefault(_digest(medium, _GLANCE), []).append(file)

    names: dict[str, str] = {}
    for glance, alike in glances.items():
        for file in alike:
            # A reduced decode may blur a small difference away, so look-alikes are compared pixel by pixel.
            names[file] = glance if len(alike) == 1 else _digest(first[file], None)
    return {medium: names[file] for medium, file in files.items()}


def _file_of(medium: Medium) -> str:
    """What tells pictures apart without decoding: the digest of a file, else the object itself."""
    if not isinstance(medium.source, Path | bytes):
        return f"object {id(medium)}"
    try:
        return image_files.digest(medium)
    except MediaError:
        return f"unreadable {medium.key}"


def _digest(medium: Medium, size_hint: tuple[int, int] | None) -> str:
    try:
        pixels = image_files.load(medium, size_hint=size_hint)
    except MediaError:
        return f"unreadable {medium.key}"
    shape = f"{pixels.shape} ".encode()
    return hashlib.sha256(shape + np.ascontiguousarray(pixels).tobytes()).hexdigest()
