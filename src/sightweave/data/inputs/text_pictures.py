"""Converts a text to an image source; the text is a path, a data URL or base64. Network URLs are rejected."""

from __future__ import annotations

import base64
import re
import urllib.parse
from pathlib import Path

from sightweave.core.errors import MediaError

_SCHEME = re.compile(r"(?i)([a-z][a-z0-9+.-]+):/")
"""Matches the start of a URL. The scheme has at least two letters, since one letter is a Windows drive; only one slash is
required because `Path` merges two."""
_DATA_URL = re.compile(r"(?i)data:(image/[\w.+-]+|application/octet-stream)?(;[\w=.+-]+)*;base64,")
_BASE64_STARTS = ("/9j/", "_9j_", "iVBORw0KGgo", "R0lGOD", "UklGR")
"""First characters of JPEG, PNG, GIF and WebP files in base64."""
_MIN_BASE64 = 64
"""Minimum length of an image in base64; a shorter text is taken for a path."""
_MAX_PATH = 4096
"""Maximum length of a path in characters; operating systems do not open longer ones."""


def picture_of(text: str | Path) -> Path | bytes:
    """Decodes the bytes in a data URL or a base64 text; any other text is returned as a path.

    Base64 may contain line breaks, may use the URL-safe alphabet (``-`` and ``_``), and may lack padding.

    Raises:
        MediaError: The text is empty, a network URL, a data URL without valid base64, or too long for a path.
    """
    if isinstance(text, Path):
        _refuse_addresses(str(text))
        return text
    if not text.strip():
        raise MediaError(
            "image_missing", "an empty string is not an image; give a path, or None for no image."
        )
    if text[:5].lower() == "data:":
        return _of_data_url(text)
    if text.startswith(_BASE64_STARTS) and len(text) >= _MIN_BASE64:
        try:
            return _decoded(text)
        except ValueError:
            pass  # a path may start like base64

    if len(text) > _MAX_PATH:
        raise MediaError(
            "image_missing",
            f"{text[:40]!r}...: a string of {len(text):,} characters is neither a path nor the base64 of a JPEG, PNG, GIF "
            "or WebP file.",
        )
    _refuse_addresses(text)
    if text[:5].lower() == "file:":
        text = urllib.parse.unquote(re.sub("^//(localhost)?", "", text[5:]))
    return Path(text)


def _refuse_addresses(text: str) -> None:
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[1].lower() != "file":
        raise MediaError("image_url", f"{text}: URLs are not fetched; save the image and give its path.")


def _of_data_url(text: str) -> bytes:
    head = _DATA_URL.match(text[:200])
    try:
        if head is None:
            raise ValueError("it must start with data:image/png;base64,")
        return _decoded(text[head.end() :])
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise MediaError("invalid_base64", f"{text[:40]!r}...: this data URL is invalid: {reason}.") from None


def _decoded(text: str) -> bytes:
    digits = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    padding = "=" * (-len(digits) % 4)
    return base64.b64decode(digits + padding, validate=True)
