"""Small copies of pictures, for notebooks: what an answer keeps of its picture must not fill the memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import PIL.Image

from sightweave.core.errors import MediaError
from sightweave.core.report import pictures
from sightweave.core.report.notebook import SIDE
from sightweave.core.types import Medium
from sightweave.data.inputs import media

_JPEG_QUALITY = 90


def kept(medium: Medium) -> Medium:
    """A medium of a few kilobytes that looks the same: a file by its path, anything else as a small copy.

    Raises:
        MediaError: it cannot be read.
    """
    if isinstance(medium.source, Path):
        return medium
    pixels = media.load(medium, size_hint=(SIDE, SIDE))
    picture = PIL.Image.fromarray(pixels)
    # Shrunk by whole factors first, which takes a fraction of the time.
    picture.thumbnail((SIDE, SIDE), PIL.Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return Medium(out.getvalue(), medium.key)


def addresses(given: Sequence[Medium]) -> list[str]:
    """A ``data:`` address of each picture, made small; those that cannot be read by now are left out."""
    found = []
    for medium in given:
        try:
            pixels = media.load(medium, size_hint=(SIDE, SIDE))
        except MediaError:
            continue
        found.append(pictures.data_uri(pixels, max_side=SIDE))
    return found
