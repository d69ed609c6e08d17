"""Small copies of pictures, for notebooks: what an answer keeps of its picture must not fill the memory."""

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
_MOST_BYTES = 1 << 20
"""Of a file in memory that is kept as it is."""


def kept(medium: Medium) -> Medium:
    """A medium that takes little memory and looks the same: a file by its path or its bytes, anything else as a small copy.

    Raises:
        MediaError: it cannot be read.
    """
    is_small = isinstance(medium.source, bytes) and len(medium.source) <= _MOST_BYTES
    if is_small or isinstance(medium.source, Path):  # decoding it again would take as long as a short answer
        return medium
    pixels = image_files.load(medium, size_hint=(SIDE, SIDE))
    picture = PIL.Image.fromarray(pixels)
    # Shrunk by whole factors first, which takes a fraction of the time.
    picture.thumbnail((SIDE, SIDE), PIL.Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return Medium(out.getvalue(), medium.key)


def addresses(given: Sequence[Medium]) -> list[str]:
    """A ``data:`` address of each image, made small; those that cannot be read by now are left out."""
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
