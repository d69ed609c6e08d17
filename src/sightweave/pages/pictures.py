"""Encodes pixels as an image that is embedded in a page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import PIL.Image

from sightweave.core.errors import DataError

MAX_SIDE = 224
"""Maximum length of the longer side in the page, in pixels; larger images are scaled down."""
_JPEG_QUALITY = 88
_DRAWN_COLORS = 4096
"""Number of colours above which an image counts as a photograph."""


def data_uri(pixels: np.ndarray, *, max_side: int = MAX_SIDE) -> str:
    """The ``data:`` address of an image: PNG or JPEG for drawings, whichever is smaller, and JPEG for photographs.

    Args:
        pixels: uint8 H W or H W 3.
        max_side: Maximum length of the longer side, in pixels.

    Raises:
        DataError: the pixels have another dtype or shape.
    """
    is_picture = pixels.ndim in (2, 3) and (pixels.ndim == 2 or pixels.shape[2] == 3) and pixels.size > 0
    if pixels.dtype != np.uint8 or not is_picture:
        raise DataError(
            f"report: an image has dtype {pixels.dtype} and shape {pixels.shape}; give uint8 H W or H W 3."
        )

    picture = PIL.Image.fromarray(pixels)
    if max(picture.size) > max_side:
        picture.thumbnail((max_side, max_side), PIL.Image.Resampling.LANCZOS)

    # PNG is slow for photographs and never smaller, so it is tried only for drawings.
    found = {"jpeg": _encoded(picture, "JPEG", quality=_JPEG_QUALITY)}
    if picture.getcolors(_DRAWN_COLORS) is not None:
        found["png"] = _encoded(picture, "PNG")
    kind, data = min(found.items(), key=lambda item: len(item[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _encoded(picture: PIL.Image.Image, kind: str, **settings: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **settings)
    return out.getvalue()
