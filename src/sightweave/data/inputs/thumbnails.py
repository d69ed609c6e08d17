"""Makes small copies of images for notebooks, so that the answers kept there do not fill up memory."""

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
"""Maximum size of a file in memory that is kept as it is."""


def kept(medium: Medium) -> Medium:
    """A medium that looks the same and takes little memory: a path or a small file as it is, anything else as a thumbnail.

    Raises:
        MediaError: The image cannot be read.
    """
    is_small = isinstance(medium.source, bytes) and len(medium.source) <= _MAX_BYTES
    if is_small or isinstance(medium.source, Path):  # decoding it again would take as long as a short answer
        return medium

    pixels = image_files.load(medium, size_hint=(SIDE, SIDE))
    image = PIL.Image.fromarray(pixels)
    # The gap lets Pillow shrink by whole factors first, which takes a fraction of the time.
    image.thumbnail((SIDE, SIDE), PIL.Image.Resampling.BILINEAR, reducing_gap=2.0)

    out = io.BytesIO()
    image.save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return Medium(out.getvalue(), medium.key)


def addresses(given: Sequence[Medium]) -> list[str]:
    """``data:`` URLs of small copies of the images; images that can no longer be read are left out."""
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
