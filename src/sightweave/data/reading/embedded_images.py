"""Decodes images inside JSON: data URLs, and objects with base64 bytes or a path."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

from sightweave.data.reading.image_paths import Inside
from sightweave.data.reading.row_files import RowError, shown

_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w-]+=[\w.-]+)*;base64,", re.IGNORECASE)


def picture(value: Any, field: str) -> Inside | str:
    """Decodes the bytes of an image, or returns its path for the caller to resolve.

    Args:
        value: A path, a data URL, or an object with ``bytes``, ``path`` or ``url``.
        field: Name of the field, for messages.

    Raises:
        RowError: The value is a web address, is not valid base64, or has another type.
    """
    if isinstance(value, dict):
        data = value.get("bytes")
        if data is not None:
            return _decoded(data, field)
        value = value.get("path") or value.get("url")

    if not isinstance(value, str) or not value:
        message = f"must be a path, a data URL, or an object of bytes or path (got {shown(value)})."
        raise RowError("wrong_type", field, value, message)

    start = value[:8].lower()
    if start.startswith("data:"):
        head = _DATA_URL.match(value[:200])
        if head is None:
            message = f"a data URL must start with data:image/png;base64, (got {shown(value[:40])})."
            raise RowError("invalid_base64", field, value[:40], message)
        return _decoded(value[head.end() :], field)

    if start.startswith(("http:", "https:")):
        message = f"{shown(value)} is a URL, and URLs are not fetched; save the image and give its path."
        raise RowError("image_url", field, value, message)
    return value


def _decoded(text: Any, field: str) -> Inside:
    if not isinstance(text, str):
        raise RowError("wrong_type", field, text, f"bytes must be a base64 string (got {shown(text)}).")

    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: characters that are not ASCII
        reason = str(error).lower().rstrip(".")
        message = f"{len(text)} characters that are not valid base64 ({reason})."
        raise RowError("invalid_base64", field, text[:40], message) from None
    if not data:
        raise RowError("invalid_base64", field, text, "the image is empty (0 bytes).")

    # Equal images get equal keys, so that each is encoded once.
    return Inside(data, hashlib.sha256(data).hexdigest()[:32])
