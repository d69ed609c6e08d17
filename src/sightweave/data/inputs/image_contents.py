"""Finds duplicate images by their content, since a dataset may hold copies of a photograph under several names.

Two images are duplicates if their decoded pixels are equal, even if their metadata or their lossless formats differ.
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
"""Size hint in pixels for a first comparison, which distinguishes most images; JPEG files are then decoded faster."""


def contents(given: Iterable[Medium]) -> dict[Medium, str]:
    """A name for the content of each image, such that two images have the same name if and only if their pixels are equal.

    Each distinct file is decoded once at a reduced scale; only images that are equal at that scale are decoded in full. An
    image that cannot be read is named by its key, so that it equals only images with the same key.
    """
    distinct = list(dict.fromkeys(given))
    files = {medium: _file_of(medium) for medium in distinct}

    # Choose one image to represent all those with the same bytes.
    first: dict[str, Medium] = {}
    for medium, file in files.items():
        first.setdefault(file, medium)

    glances: dict[str, list[str]] = {}
    for file, medium in first.items():
        glances.setdefault(_digest(medium, _GLANCE), []).append(file)

    # A reduced decode can hide a small difference, so images that look alike are compared at full scale.
    names: dict[str, str] = {}
    for glance, alike in glances.items():
        for file in alike:
            names[file] = glance if len(alike) == 1 else _digest(first[file], None)

    return {medium: names[file] for medium, file in files.items()}


def _file_of(medium: Medium) -> str:
    """Identifies an image without decoding it: by the digest of its file, or by the object if it is not a file."""
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
