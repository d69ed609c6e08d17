"""Makes small copies of images, so that the answers kept in a notebook do not fill up memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import PIL.Image

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_files
from sightweave.pages import pictures
from sightweave.pages.notebook import SIDE

_JPEG_QUALITY = 90
_MAX_BYTES = 1 << 20
"""Maximum size in bytes of a file in memory that is kept without shrinking it."""


def kept(medium: Medium) -> Medium:
    """A copy of an image that takes little memory: a thumbnail, or the medium itself if it is a path or a small file.

    Raises:
        MediaError: The image cannot be read.
    """
    is_small = isinstance(medium.source, bytes) and len(medium.source) <= _MAX_BYTES
    if is_small or isinstance(medium.source, Path):  # making a thumbnail would take as long as a short answer
        return medium

    pixels = image_files.load(medium, size_hint=(SIDE, SIDE))
    image = PIL.Image.fromarray(pixels)
    # With a reducing gap, Pillow first shrinks by whole factors, which is several times faster.
    image.thumbnail((SIDE, SIDE), PIL.Image.Resampling.BILINEAR, reducing_gap=2.0)

    out = io.BytesIO()
    image.save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return Medium(out.getvalue(), medium.key)


def addresses(given: Sequence[Medium]) -> list[str]:
    """``data:`` URLs of thumbnails of the images; media that are not images or cannot be read are skipped."""
    found = []
    for medium in given:
        if medium.modality != "image":
            continue
        try:
            pixels = image_files.load(medium, size_hint=(SIDE, SIDE))
        except MediaError:
            continue
        found.append(pictures.data_uri(pixels, max_side=SIDE))
    return found
