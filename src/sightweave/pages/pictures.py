"""Pixels -> a picture inside the page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import PIL.Image

from sightweave.core.errors import DataError

MAX_SIDE = 224
"""Pixels of the longer side in the page; larger pictures are made smaller."""
_JPEG_QUALITY = 88
_DRAWN_COLORS = 4096
"""A picture with more colours than this is a photograph."""


def data_uri(pixels: np.ndarray, *, max_side: int = MAX_SIDE) -> str:
    """A ``data:`` address of the picture: a drawing as PNG or JPEG, whichever is smaller, a photograph as JPEG.

    Args:
        pixels: uint8 H W or H W 3.
        max_side: Pixels of the longer side at most.

    Raises:
        DataError: other numbers or another shape.
    """
    is_picture = pixels.ndim in (2, 3) and (pixels.ndim == 2 or pixels.shape[2] == 3) and pixels.size > 0
    if pixels.dtype != np.uint8 or not is_picture:
        raise DataError(
            f"report: a picture has dtype {pixels.dtype} and shape {pixels.shape}; give uint8 H W or H W 3."
        )
    picture = PIL.Image.fromarray(pixels)
    if max(picture.size) > max_side:
        picture.thumbnail((max_side, max_side), PIL.Image.Resampling.LANCZOS)

    # Of a photograph, PNG would take longer than all the rest and never be the smaller one.
    found = {"jpeg": _encoded(picture, "JPEG", quality=_JPEG_QUALITY)}
    if picture.getcolors(_DRAWN_COLORS) is not None:
        found["png"] = _encoded(picture, "PNG")
    kind, data = min(found.items(), key=lambda item: len(item[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _encoded(picture: PIL.Image.Image, kind: str, **settings: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **settings)
    return out.getvalue()
